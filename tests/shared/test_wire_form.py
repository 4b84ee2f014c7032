"""What clients see: one form, the same for all, with nothing in it that is not theirs."""

from __future__ import annotations

import json

from hypothesis import given

from shared import events as e
from shared.ids import ChannelId, ChannelKey, Seq, StreamSeq, WorkspaceId
from shared.wire_form import wire
from tests.support.events import any_event, content

KEY = ChannelKey(WorkspaceId("w"), ChannelId("general"))


def recorded(event: e.Event, void: str | None = None) -> e.Recorded:
    """`event` at a position."""
    return e.Recorded(KEY, Seq(7), StreamSeq(99), 1_764_043_200_123_456, event, void)


@given(any_event())
def test_the_wire_form_is_whole_and_stable(event: e.KnownEvent) -> None:
    """Every recipient, now or later, gets the same bytes, with position and content (P19, P20)."""
    body = wire(recorded(event))
    assert body == wire(recorded(e.decode(e.encode(event))))
    shown = json.loads(body)
    assert (shown["type"], shown["channel"], shown["seq"]) == ("event", "general", 7)
    assert shown["ts"] == "2025-11-25T04:00:00.123Z"
    seen = {name: value for name, value in content(event).items() if name != "ref_author"}
    assert shown == shown | seen
    assert set(shown) == {"type", "channel", "seq", "ts", *seen}


@given(any_event())
def test_the_wire_form_keeps_servers_secrets(event: e.KnownEvent) -> None:
    """Stream sequences and the workspace never leave the servers."""
    shown = json.loads(wire(recorded(event)))
    assert not {"stream_seq", "workspace", "ref_author", "v"} & set(shown)


@given(any_event())
def test_a_void_event_shows_no_content(event: e.KnownEvent) -> None:
    """What was not allowed is shown as a number with its author, nothing else."""
    shown = json.loads(wire(recorded(event, void="author is not a member")))
    assert shown == {
        "type": "event",
        "channel": "general",
        "seq": 7,
        "ts": "2025-11-25T04:00:00.123Z",
        "kind": "void",
        "author": event.author,
        "id": event.id,
    }


def test_an_unreadable_event_shows_as_void() -> None:
    """Clients see a number without content, not an error."""
    assert json.loads(wire(recorded(e.Unreadable())))["kind"] == "void"
