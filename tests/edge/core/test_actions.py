"""Commands become events, or the reason why not: every command in every kind of channel (P14, P21)."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest

from edge.core import actions
from edge.core import frames as f
from edge.core.actions import Target
from edge.core.principal import ERASE, IMPORT, Principal
from shared import events as e
from shared.channel import ChannelState, judge
from shared.errors import BadRequest, Conflict, Forbidden, NotFound, ParleyError, TooLarge
from shared.ids import Seq, UserId, WorkspaceId, new_command_id

ID = new_command_id(1_790_000_000_000)
ANN, BOB, EVE, LEO = UserId("ann"), UserId("bob"), UserId("eve"), UserId("leo")
HIS, HERS = Target(Seq(3), BOB), Target(Seq(3), ANN)
KINDS: tuple[e.ChannelKind, ...] = ("public", "private", "direct")

IN_CHANNEL = {"id": ID, "channel": "c"}
ON_TARGET = {**IN_CHANNEL, "ref": 3}
COMMANDS: dict[str, f.InChannel] = {
    "send": f.Send(**IN_CHANNEL, type="send", text="t"),
    "reply": f.Send(**IN_CHANNEL, type="send", text="t", thread=3),
    "edit": f.Edit(**ON_TARGET, type="edit", text="t"),
    "delete": f.Delete(**ON_TARGET, type="delete"),
    "react": f.React(**ON_TARGET, type="react", emoji="e"),
    "unreact": f.Unreact(**ON_TARGET, type="unreact", emoji="e"),
    "pin": f.Pin(**ON_TARGET, type="pin"),
    "unpin": f.Unpin(**ON_TARGET, type="unpin"),
    "join": f.Join(**IN_CHANNEL, type="join"),
    "leave": f.Leave(**IN_CHANNEL, type="leave"),
    "invite": f.Invite(**IN_CHANNEL, type="invite", user=EVE),
    "invite admin": f.Invite(**IN_CHANNEL, type="invite", user=EVE, role="admin"),
    "kick": f.Kick(**IN_CHANNEL, type="kick", user=LEO),
    "kick nobody": f.Kick(**IN_CHANNEL, type="kick", user=EVE),
    "set_role": f.SetRole(**IN_CHANNEL, type="set_role", user=LEO, role="admin"),
    "rename": f.UpdateChannel(**IN_CHANNEL, type="update_channel", name="n"),
    "topic": f.UpdateChannel(**IN_CHANNEL, type="update_channel", topic=""),
    "archive": f.UpdateChannel(**IN_CHANNEL, type="update_channel", archived=True),
    "unarchive": f.UpdateChannel(**IN_CHANNEL, type="update_channel", archived=False),
    "retention": f.UpdateChannel(**IN_CHANNEL, type="update_channel", retention_days=30),
    "no retention": f.UpdateChannel(**IN_CHANNEL, type="update_channel", retention_days=None),
    "erase": f.Erase(**IN_CHANNEL, type="erase", ref=3),
    "erase user": f.Erase(**IN_CHANNEL, type="erase", user=ANN),
}
KIND_OF_EVENT = {
    "send": "message.posted",
    "reply": "message.posted",
    "edit": "message.edited",
    "delete": "message.deleted",
    "react": "reaction.added",
    "unreact": "reaction.removed",
    "pin": "pin.added",
    "unpin": "pin.removed",
    "join": "member.joined",
    "leave": "member.left",
    "invite": "member.invited",
    "invite admin": "member.invited",
    "kick": "member.removed",
    "kick nobody": "member.removed",
    "set_role": "member.role_changed",
    "rename": "channel.renamed",
    "topic": "channel.topic_set",
    "archive": "channel.archived",
    "unarchive": "channel.unarchived",
    "retention": "channel.retention_set",
    "no retention": "channel.retention_set",
    "erase": "message.erased",
    "erase user": "user.erased",
}
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


def channel(kind: e.ChannelKind, role: e.Role | None, *, archived: bool = False) -> ChannelState:
    """A channel in which Ann is an admin, Leo a member, and Bob what the test says."""
    members: dict[UserId, e.Role] = {ANN: "admin", LEO: "member"}
    if role is not None:
        members[BOB] = role
    return ChannelState(kind=kind, name="c", created_by=ANN, members=members, archived=archived)


def bob(*scopes: str) -> Principal:
    """The caller of every test."""
    return Principal(BOB, WorkspaceId("w"), frozenset(scopes))


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
