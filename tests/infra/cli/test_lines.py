"""An event as a person reads it in a terminal."""

from __future__ import annotations

import orjson
import pytest

from infra.cli.lines import line
from shared import events as e
from shared.ids import ChannelId, ChannelKey, Seq, StreamSeq, WorkspaceId
from shared.wire_form import wire
from tests.support.events import KINDS, example

KEY = ChannelKey(WorkspaceId("w"), ChannelId("tea"))
AT_US = 1_764_043_200_123_456


def shown(event: e.Event, void: str | None = None) -> str:
    """The line of an event at seq 7."""
    return line(orjson.loads(wire(e.Recorded(KEY, Seq(7), StreamSeq(9), AT_US, event, void)))).plain


def test_a_message() -> None:
    """Time, channel, number, author, text; a reply points at its root."""
    assert shown(example(e.MessagePosted, text="hi")) == "2025-11-25 04:00:00 tea #7 alice hi"
    assert "→ #3 hi" in shown(example(e.MessagePosted, text="hi", thread=3))


def test_markup_and_control_codes_are_text() -> None:
    """Nothing that somebody wrote is taken for markup."""
    assert "[red]x[/red]" in shown(example(e.MessagePosted, text="[red]x[/red]"))


def test_an_import_shows_its_own_time() -> None:
    """When it was said, not when it was brought in."""
    imported = {"by": "importer", "at": "2004-11-09T08:00:00.000Z"}
    assert shown(example(e.MessagePosted, imported=imported)).startswith("2004-11-09 08:00:00 tea")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_line(kind: type[e.KnownEvent]) -> None:
    """Number and author, the kind unless it is a message, and a void one without its content."""
    event = example(kind)
    assert "tea #7 alice " in shown(event)
    assert (event.kind in shown(event)) == (event.kind != "message.posted")
    assert shown(event, "not allowed").endswith("tea #7 alice void ")


def test_retention_says_how_long() -> None:
    """Days as they were set, and up to when messages have expired."""
    assert shown(example(e.ChannelRetentionSet, days=30)).endswith("channel.retention_set 30")
    older = "2026-10-28T00:00:00.000Z"
    assert shown(example(e.MessagesExpired, older_than=older)).endswith(f"messages.expired {older}")
