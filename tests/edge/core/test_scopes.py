"""What a scope allows that no role does: importing, erasing, an operator's retention; and nothing else."""

from __future__ import annotations

import pytest

from edge.core import actions
from edge.core import frames as f
from edge.core.actions import Target
from edge.core.principal import ERASE, IMPORT
from shared import events as e
from shared.channel import judge
from shared.errors import BadRequest, Conflict, Forbidden, NotFound
from shared.ids import Seq
from tests.support.channel_commands import (
    BOB,
    COMMANDS,
    EVE,
    HERS,
    HIS,
    IN_CHANNEL,
    KIND_OF_EVENT,
    KINDS,
    ON_TARGET,
    bob,
    channel,
)


def imported(at: str = "2015-01-02T03:04:05.678Z") -> f.Send:
    """Bob brings in a message of Eve's."""
    origin = f.ImportedFrom(at=at, author=EVE)
    return f.Send(**IN_CHANNEL, type="send", text="t", imported=origin)


def test_import_needs_the_scope() -> None:
    """Without the scope nobody speaks for another, member or not."""
    for state in (channel("public", "admin"), channel("private", None), None):
        with pytest.raises(Forbidden):
            actions.event_of(imported(), bob("read"), state, None)


@pytest.mark.parametrize("kind", KINDS)
def test_import_needs_no_membership(kind: e.ChannelKind) -> None:
    """With the scope the event is the original author's, and says who brought it and when it happened."""
    event = actions.event_of(imported(), bob(IMPORT), channel(kind, None), None)
    assert event.author == EVE
    assert event.imported == e.Imported(by=BOB, at="2015-01-02T03:04:05.678Z")


def test_scope_alone_opens_no_channel() -> None:
    """The scope is for imports: an ordinary command of its holder sees hidden channels as absent."""
    with pytest.raises(NotFound):
        actions.event_of(COMMANDS["send"], bob(IMPORT), channel("private", None), None)


@pytest.mark.parametrize("at", ["", "yesterday", "2015-13-01T00:00:00Z", "9" * 40, "2015-01-02T03:04:05"])
def test_import_needs_a_time(at: str) -> None:
    """A time that is no RFC 3339 is refused."""
    with pytest.raises(BadRequest, match="RFC 3339"):
        actions.event_of(imported(at), bob(IMPORT), channel("public", None), None)


@pytest.mark.parametrize("name", ["erase", "erase user"])
@pytest.mark.parametrize("kind", KINDS)
def test_erasing_needs_the_scope_and_nothing_else(name: str, kind: e.ChannelKind) -> None:
    """With it, no membership, in archived channels too; members without it, admins included, are refused."""
    state = channel(kind, None, archived=True)
    event = actions.event_of(COMMANDS[name], bob(ERASE), state, HERS)
    assert (event.kind, event.author) == (KIND_OF_EVENT[name], BOB)
    assert judge(state, event) is None
    with pytest.raises(Forbidden, match="scope erase"):
        actions.event_of(COMMANDS[name], bob(IMPORT), channel(kind, "admin"), HERS)
    with pytest.raises(NotFound):
        actions.event_of(COMMANDS[name], bob(ERASE), None, HERS)


@pytest.mark.parametrize("name", ["retention", "no retention"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_scope_sets_retention_as_well(name: str, kind: e.ChannelKind) -> None:
    """It takes texts away, only later: in any channel, and the event says that it was an operator."""
    state = channel(kind, None, archived=True)
    event = actions.event_of(COMMANDS[name], bob(ERASE), state, None)
    assert isinstance(event, e.ChannelRetentionSet)
    assert (event.days, event.operator) == (30 if name == "retention" else None, True)
    assert judge(state, event) is None
    own = actions.event_of(COMMANDS[name], bob(), channel("public", "admin"), None)
    assert isinstance(own, e.ChannelRetentionSet)
    assert own.operator is None


def test_the_scope_opens_no_channel() -> None:
    """It is for erasing: everything else its holder does is an ordinary user's."""
    for name in COMMANDS.keys() - {"erase", "erase user", "retention", "no retention"}:
        with pytest.raises(NotFound):
            actions.event_of(COMMANDS[name], bob(ERASE), channel("private", None), HIS)


def test_what_is_no_message_cannot_be_erased() -> None:
    """An unknown number is named."""
    with pytest.raises(NotFound, match="number 3"):
        actions.event_of(COMMANDS["erase"], bob(ERASE), channel("public", None), None)


def test_an_erased_message_takes_no_text() -> None:
    """Not from its author, not from an import; what says nothing goes on."""
    gone, state = Target(Seq(3), BOB, erased=True), channel("public", "admin")
    importing = f.Edit(
        **ON_TARGET,
        type="edit",
        text="t",
        imported=f.ImportedFrom(at="2015-01-02T03:04:05Z", author=BOB),
    )
    for edit in (COMMANDS["edit"], importing):
        with pytest.raises(Conflict, match="erased"):
            actions.event_of(edit, bob(IMPORT), state, gone)
    for name in ("delete", "react", "unreact", "pin", "unpin", "reply"):
        assert actions.event_of(COMMANDS[name], bob(), state, gone).kind == KIND_OF_EVENT[name]
