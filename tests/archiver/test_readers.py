"""The table of members: what it says is the fold's, and a batch writes only what changed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from archiver.cache import Cache
from shared import events as e
from shared.channel import fold, regrouped
from shared.events import KnownEvent, encode
from shared.ids import ChannelId, Epoch, StreamSeq, UserId
from tests.support.archive import ALICE, WORKSPACE, hot_of, key_of, posted
from tests.support.events import any_event, example

KEY = key_of("p_crowd")


@given(st.lists(any_event(st.sampled_from([UserId("a"), UserId("b"), UserId("c")])), max_size=30))
def test_nobody_else_is_regrouped(events: list[KnownEvent]) -> None:
    """Whoever belongs after an event and not before, or the other way, is named by `regrouped`."""
    state = None
    for event in events:
        before = dict(state.members) if state else {}
        state, _ = fold(state, event)
        after = dict(state.members) if state else {}
        assert before.keys() ^ after.keys() <= set(regrouped(event))


def test_talking_in_a_crowd_writes_no_members(tmp_path: Path) -> None:
    """In a channel of 10,000 members a batch writes the rows of those who came and went, and no others."""
    crowd = tuple(UserId(f"u{number}") for number in range(9_990))
    path = tmp_path / "c.sqlite"
    cache = Cache(path, Epoch("e"), StreamSeq(0))
    creation = example(e.ChannelCreated, channel_kind="private", members=crowd)
    hot = hot_of(0, {KEY: [encode(creation)]})
    for changes, events in [
        (len(crowd) + 1, []),
        (0, [posted("hi")] * 50),
        (2, [example(e.MemberRemoved, user="u1"), example(e.MemberInvited, user="new")]),
    ]:
        for event in events:
            hot.add(KEY, StreamSeq(hot.applied + 1), 5, encode(event))
        batch = hot.cut()
        before = members(path)
        cache.record(batch.lo, batch.hi, batch.channels)
        hot.drop(batch)
        assert len(before ^ members(path)) == changes
        assert written(cache) < changes + 100
    assert cache.readable(WORKSPACE, UserId("u1")) == set()
    assert cache.readable(WORKSPACE, UserId("new")) == {ChannelId("p_crowd")}
    assert cache.readable(WORKSPACE, ALICE) == {ChannelId("p_crowd")}
    cache.close()


def members(path: Path) -> set[str]:
    """The users in the table."""
    with sqlite3.connect(path) as db:
        return {row[0] for row in db.execute("SELECT user FROM members")}


_counted: dict[int, int] = {}


def written(cache: Cache) -> int:
    """Rows that the cache has written since this was asked last."""
    total = cache._writer.total_changes
    before = _counted.get(id(cache), 0)
    _counted[id(cache)] = total
    return total - before
