"""One flush for many sessions: framed once, and it knows whose membership it ends (P20, P21)."""

from __future__ import annotations

from edge.core.ring import Entry
from edge.fanout import Flush, frames_of
from shared import events as e
from shared.ids import ChannelId, ChannelKey, Seq, StreamSeq, WorkspaceId
from shared.wire_form import wire
from tests.support.events import example

KEY = ChannelKey(WorkspaceId("w"), ChannelId("c"))


def entry(seq: int, event: e.KnownEvent, void: str | None = None) -> Entry:
    """An event as a feed hands it over."""
    recorded = e.Recorded(KEY, Seq(seq), StreamSeq(seq), 1, event, void)
    return Entry(recorded, wire(recorded), 0)


ENTRIES = [entry(1, example(e.MessagePosted)), entry(2, example(e.MessagePosted, "bob"))]


def test_every_session_gets_the_same_object() -> None:
    """The frames are made once per kind of client, and not the same for both."""
    flush = Flush(ENTRIES)
    for batch in (True, False):
        first = flush.frames(batch=batch)
        assert flush.frames(batch=batch) is first
        assert first == frames_of(ENTRIES, batch=batch)
    assert flush.frames(batch=True) != flush.frames(batch=False)
    assert (flush.first, flush.last) == (1, 2)


def test_who_is_out_is_known_by_number() -> None:
    """Who left and who was removed, each with the event that says so; a void one removes nobody."""
    flush = Flush(
        [
            entry(5, example(e.MemberLeft, "ann")),
            entry(6, example(e.MemberRemoved, "ann", user="bob")),
            entry(7, example(e.MemberRemoved, "eve", user="carol"), void="author is not a member"),
            entry(8, example(e.MessagePosted, "dan")),
        ]
    )
    assert flush.removed == {"ann": 5, "bob": 6}
