"""Commands become events, or the reason why not: every command in every kind of channel (P14, P21)."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest

from edge.core import actions
from edge.core import frames as f
from edge.core.actions import Target
from shared import events as e
from shared.channel import ChannelState, judge
from shared.errors import Forbidden, NotFound, ParleyError, TooLarge
from tests.support.channel_commands import (
    ANN,
    BOB,
    COMMANDS,
    HERS,
    HIS,
    ID,
    IN_CHANNEL,
    KIND_OF_EVENT,
    KINDS,
    ON_TARGET,
    bob,
    channel,
)

ON_MESSAGES = {"edit", "delete", "react", "unreact", "pin", "unpin"}
ANY_MEMBER = {"send", "reply", "react", "unreact", "pin", "unpin", "leave", "invite", "rename", "topic"}
ADMIN_ONLY = {"invite admin", "kick", "set_role", "archive", "unarchive", "retention", "no retention"}
WHILE_ARCHIVED = {"unarchive", "leave", "kick", "retention", "no retention"}
FIXED_IN_DIRECT = {"join", "leave", "invite", "invite admin", "kick", "set_role", "rename", "topic"} | {
    "archive",
    "unarchive",
    "retention",
    "no retention",
}


def outcome(command: f.InChannel, state: ChannelState | None, target: Target | None = HIS) -> object:
    """The event, "absent" if the refusal says exactly that and nothing more, or the class of another one."""
    try:
        return actions.event_of(command, bob(), state, target)
    except ParleyError as error:
        return "absent" if vars(error) == vars(actions.absent()) else type(error)


def may(name: str, kind: e.ChannelKind, role: e.Role | None, *, archived: bool, own: bool) -> bool:
    """The table of rights, written down a second time and without looking at `judge`."""
    if archived and name not in WHILE_ARCHIVED:
        return False
    if name == "join":
        return kind == "public"
    if role is None or (kind == "direct" and name in FIXED_IN_DIRECT) or name == "kick nobody":
        return False
    if name == "edit":
        return own
    if name == "delete":
        return own or role == "admin"
    if name == "invite" and kind == "private":
        return role == "admin"
    return name in ANY_MEMBER or (name in ADMIN_ONLY and role == "admin")


def test_every_command_is_in_the_tables() -> None:
    """No command in a channel is left out of these tests."""
    tested = {type(command) for command in COMMANDS.values()}
    assert tested | {f.CreateChannel} == set(get_args(f.WritingCommand))
    assert KIND_OF_EVENT.keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_rights(name: str) -> None:
    """Each command by role, kind of channel, archived or not, own message or another's."""
    roles: tuple[e.Role | None, ...] = (None, "member", "admin")
    for kind, role, archived, own in itertools.product(KINDS, roles, (False, True), (False, True)):
        found = outcome(COMMANDS[name], channel(kind, role, archived=archived), HIS if own else HERS)
        where = (kind, role, archived, own)
        if role is None and kind != "public":
            assert found == "absent", where
        elif may(name, kind, role, archived=archived, own=own):
            assert isinstance(found, e._Base), where
            assert (found.kind, found.id, found.author) == (KIND_OF_EVENT[name], ID, BOB)  # type: ignore[attr-defined]
        else:
            assert found is Forbidden, where


@pytest.mark.parametrize("name", COMMANDS)
def test_allowed_event_is_allowed_by_the_fold(name: str) -> None:
    """What `event_of` returns is never void in the same state: there is one opinion on rights (P14)."""
    roles: tuple[e.Role | None, ...] = (None, "member", "admin")
    for kind, role, archived in itertools.product(KINDS, roles, (False, True)):
        state = channel(kind, role, archived=archived)
        found = outcome(COMMANDS[name], state)
        if isinstance(found, e._Base):
            assert judge(state, found) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("kind", ["private", "direct"])
def test_hidden_channel_is_an_absent_one(name: str, kind: e.ChannelKind) -> None:
    """To a stranger there is no difference between a hidden channel and none, target or not (P21)."""
    state = channel(kind, None)
    for known, target in itertools.product((state, None), (HIS, HERS, None)):
        assert outcome(COMMANDS[name], known, target) == "absent"


@pytest.mark.parametrize("name", sorted(ON_MESSAGES))
def test_target_that_is_no_message(name: str) -> None:
    """A command about what is no message names the number; a member may know."""
    with pytest.raises(NotFound, match="number 3"):
        actions.event_of(COMMANDS[name], bob(), channel("public", "admin"), None)


def test_target_of() -> None:
    """Commands about a message and replies have a target, nothing else has."""
    found = {name for name, command in COMMANDS.items() if actions.target_of(command) == 3}
    assert found == ON_MESSAGES | {"reply", "erase"}
    assert all(actions.target_of(COMMANDS[name]) is None for name in COMMANDS.keys() - found)


def test_target_carries_its_author() -> None:
    """Edits and deletions say whose message it was, as the edge found it, not as the client claims."""
    state = channel("public", "admin")
    deleted = actions.event_of(COMMANDS["delete"], bob(), state, HERS)
    edited = actions.event_of(COMMANDS["edit"], bob(), state, HIS)
    assert isinstance(deleted, e.MessageDeleted)
    assert isinstance(edited, e.MessageEdited)
    assert (deleted.ref_author, edited.ref_author) == (ANN, BOB)


def test_member_only() -> None:
    """What only members may ask: forbidden in a public channel, absent elsewhere."""
    assert actions.member(channel("private", "member"), bob()).kind == "private"
    with pytest.raises(Forbidden):
        actions.member(channel("public", None), bob())
    for hidden in (channel("private", None), channel("direct", None), None):
        with pytest.raises(NotFound) as refused:
            actions.member(hidden, bob())
        assert vars(refused.value) == vars(actions.absent())


@pytest.mark.parametrize(
    ("text", "fits"), [("x" * 8, True), ("x" * 9, False), ("é" * 4, True), ("é" * 5, False)]
)
def test_text_limit_counts_bytes(text: str, fits: bool) -> None:
    """The limit is bytes of UTF-8 and holds for messages and edits (P3)."""
    for command in (
        f.Send(**IN_CHANNEL, type="send", text=text),
        f.Edit(**ON_TARGET, type="edit", text=text),
    ):
        if fits:
            actions.check_text(command, 8)
        else:
            with pytest.raises(TooLarge) as refused:
                actions.check_text(command, 8)
            assert refused.value.limit == "text_bytes"
