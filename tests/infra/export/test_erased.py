"""No export gives out a text that was erased, though the archive's files still hold it."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from infra.export.erased import Erased
from infra.export.lines import write_lines
from infra.export.selection import Selection
from infra.export.source import opened
from infra.export.table import write_table
from shared import events as e
from shared.archive_rows import recorded_of
from shared.erasure import emptied, erasure_of
from shared.ids import UserId
from shared.wire_form import wire
from tests.support.archived import WORKSPACE, archive_of, recorded
from tests.support.events import example

PEOPLE = st.sampled_from(["ada", "bob"])
REFS = st.integers(2, 12)
EVENTS = st.one_of(
    st.builds(lambda a: example(e.MessagePosted, author=a, text="secret"), PEOPLE),
    st.builds(
        lambda a, r: example(e.MessageEdited, author=a, ref=r, ref_author=a, text="secret"), PEOPLE, REFS
    ),
    st.builds(lambda r: example(e.MessageErased, author="op", ref=r), REFS),
    st.builds(lambda u: example(e.UserErased, author="op", user=u), PEOPLE),
    st.builds(lambda r: example(e.MessagesExpired, author="parley", since=1, before=r), REFS),
    st.builds(lambda a, r: example(e.ReactionAdded, author=a, ref=r), PEOPLE, REFS),
    st.just(b"no event, secret"),
)


@given(st.lists(EVENTS, max_size=12))
def test_it_is_what_the_erasures_say(events: list[e.KnownEvent | bytes]) -> None:
    """Row by row the same as asking every erasure of the log."""
    created = example(e.ChannelCreated, author="ada", channel_kind="public")
    kept = example(e.ChannelRetentionSet, author="ada", days=1)
    rows = recorded("tea", [created, kept, example(e.MemberJoined, author="bob"), *events])
    erasures = [found for row in rows if (found := erasure_of(recorded_of(row))) is not None]
    erased = Erased(row for row in rows if row.kind in {"message.erased", "user.erased", "messages.expired"})
    assert bool(erased) == bool(erasures)
    for row in rows:
        named = any(erasure.names(row.seq, row.kind, row.author, row.ref) for erasure in erasures)
        recorded_then = emptied(recorded_of(row))[0] if named else recorded_of(row)
        left = erased.without(row)
        assert wire(recorded_of(left)) == wire(recorded_then)
        assert not named or "secret" not in str(left)


def test_no_form_holds_the_text(tmp_path: Path) -> None:
    """Lines and columns: every event is there, the named ones without their text; a user's part as well."""
    log: list[e.KnownEvent | bytes] = [
        example(e.ChannelCreated, author="ada", channel_kind="public"),
        example(e.MessagePosted, author="ada", text="kept"),
        example(e.MessagePosted, author="ada", text="secret"),
        example(e.MessagePosted, author="eve", text="void and secret"),
        example(e.MessageErased, author="op", ref=3),
        example(e.UserErased, author="op", user="eve"),
    ]
    archive = archive_of(tmp_path / "a", recorded("tea", log))
    for selection, count in ((Selection(WORKSPACE), 6), (Selection(WORKSPACE, user=UserId("eve")), 2)):
        with opened(archive, selection, tmp_path) as source:
            assert write_lines(source, tmp_path / "x", lambda _: None) == count
            assert write_table(source, tmp_path / "y", lambda _: None) == count
        assert b"secret" not in (tmp_path / "x").read_bytes()
        table = pq.read_table(tmp_path / "y").to_pylist()
        assert "secret" not in str(table)
    assert ("tea", 4, "", '{"erased":true}') in [
        (r["channel"], r["seq"], r["text"], r["extras"]) for r in table
    ]
