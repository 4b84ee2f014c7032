"""The state of a channel is a fold over its log: `apply(state, event) -> state`.

Authorisation is part of the fold. `judge` says whether an event was allowed *at its position*; one that
was not is void: it keeps its number and changes nothing. Edge, sequencer and archiver all call `fold`,
so none can have a second opinion (P14). `None` is the state before seq 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from shared import events as e
from shared.ids import UserId

MEMBERS_MAX = 10_000
MEMBERS_BYTES_MAX = 900_000
"""Members of one channel, and what they take in a checkpoint: that is one NATS message, of 1 MiB at most."""

ADMINS = frozenset(
    {
        "member.removed",
        "member.role_changed",
        "channel.archived",
        "channel.unarchived",
        "channel.retention_set",
    }
)
WHILE_ARCHIVED = frozenset({"channel.unarchived", "channel.retention_set", "member.left", "member.removed"})


class ChannelState(msgspec.Struct, frozen=True, gc=False):
    """What authorisation, lists and unread counts need; the messages themselves are not in here.

    `messages` counts the posted messages so far: unread is a difference of two such counts.
    What was said below `expired_below` has expired, as retention asked at the time.
    `members_bytes` is what the members take in a checkpoint, kept so that nobody has to add it up again.
    """

    kind: e.ChannelKind
    name: str
    created_by: UserId
    topic: str = ""
    archived: bool = False
    members: Mapping[UserId, e.Role] = {}
    messages: int = 0
    pins: tuple[int, ...] = ()
    retention_days: int | None = None
    expired_below: int = 1
    members_bytes: int = 0

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """As a part of records."""
        return core_schema.no_info_plain_validator_function(
            _read, serialization=core_schema.plain_serializer_function_ser_schema(msgspec.to_builtins)
        )


def _read(value: object) -> ChannelState:
    try:
        return msgspec.convert(value, ChannelState)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


PINS_MAX = 100


def dump_state(state: ChannelState) -> bytes:
    """The state as JSON, for checkpoints."""
    return msgspec.json.encode(state)


def load_state(body: bytes | str) -> ChannelState:
    """The inverse of `dump_state`; raises msgspec's `MsgspecError`."""
    return _decoder.decode(body)


_decoder = msgspec.json.Decoder(ChannelState)
"""Made before there are threads: two that let msgspec look at a type for the first time at once crash it."""


def fold(state: ChannelState | None, event: e.Event) -> tuple[ChannelState | None, str | None]:
    """The state after `event`, and why the event is void there (None: it is not)."""
    void = judge(state, event)
    return (state, void) if void else (_evolve(state, event), None)


def apply(state: ChannelState | None, event: e.Event) -> ChannelState | None:
    """The state after `event`; a void event changes nothing."""
    return fold(state, event)[0]


def regrouped(event: e.Event) -> tuple[UserId, ...]:
    """Whose belonging to the channel `event` can change; nobody else's does."""
    if isinstance(event, e.ChannelCreated):
        return (event.author, *event.members)
    return (_who(event),) if isinstance(event, _Membership) else ()


def readable_by(state: ChannelState | None, user: UserId) -> bool:
    """Whether the user may know of the channel and read it: all public ones, and those one belongs to."""
    return state is not None and (state.kind == "public" or user in state.members)


def judge(state: ChannelState | None, event: e.Event) -> str | None:
    """Why `event` is not allowed in `state`, or None if it is."""
    if isinstance(event, e.MessagePosted):  # most events: the shortest way for them
        return _unspeakable(state, event)
    if isinstance(event, e.Unreadable):
        return "unreadable"
    if isinstance(event, e.ChannelCreated):
        return "already created" if state is not None else _uncreatable(event)
    return "no such channel" if state is None else _unallowed(state, event)


def _unallowed(state: ChannelState, event: e.KnownEvent) -> str | None:
    match event:
        case e.MessageErased() | e.UserErased() | e.ChannelRetentionSet(operator=True):
            return None  # an operator's: the edge asks for the right to
        case e.MessagesExpired():
            return _unexpirable(state, event)
    if state.archived and event.kind not in WHILE_ARCHIVED:
        return "channel is archived"
    if event.imported is not None:
        return _impossible(state, event)
    if isinstance(event, e.MemberJoined):
        return _impossible(state, event) if state.kind == "public" else "channel is not public"
    role = state.members.get(event.author)
    if role is None:
        return "author is not a member"
    return _unauthorized(state, event, role) or _impossible(state, event)


def _unexpirable(state: ChannelState, event: e.MessagesExpired) -> str | None:
    """Said twice, or after retention was lifted, it changes nothing; and no number may be left out."""
    if state.retention_days is None:
        return "messages are kept for ever"
    is_next = event.since <= state.expired_below < event.before
    return None if is_next else "not what expires next"


def _unspeakable(state: ChannelState | None, event: e.MessagePosted) -> str | None:
    if state is None:
        return "no such channel"
    if state.archived:
        return "channel is archived"
    is_allowed = event.imported is not None or event.author in state.members
    return None if is_allowed else "author is not a member"


def _uncreatable(event: e.ChannelCreated) -> str | None:
    people = {event.author, *event.members}
    return "channel is full" if not _fits(len(people), sum(map(_entry_bytes, people))) else None


def _unauthorized(state: ChannelState, event: e.KnownEvent, role: e.Role) -> str | None:
    if state.kind == "direct" and event.kind.startswith(("member.", "channel.")):
        return "a direct channel is fixed"
    if event.kind in ADMINS and role != "admin":
        return "only an admin may do this"
    if state.kind == "private" and role != "admin" and event.kind == "member.invited":
        return "only an admin may invite to a private channel"
    match event:
        case e.MemberInvited(role="admin") if role != "admin":
            return "only an admin may make an admin"
        case e.MessageEdited() if event.ref_author != event.author:
            return "only the author may edit"
        case e.MessageDeleted() if event.ref_author != event.author and role != "admin":
            return "only the author or an admin may delete"
    return None


def _impossible(state: ChannelState, event: e.KnownEvent) -> str | None:
    match event:
        case e.MemberRemoved() | e.MemberRoleChanged() if event.user not in state.members:
            return "no such member"
        case e.MemberJoined() | e.MemberInvited() if not _has_room(state, _who(event)):
            return "channel is full"
        case e.PinAdded() if len(state.pins) >= PINS_MAX and event.ref not in state.pins:
            return "too many pins"
    return None


def _has_room(state: ChannelState, user: UserId) -> bool:
    bytes_then = state.members_bytes + _entry_bytes(user)
    return user in state.members or _fits(len(state.members) + 1, bytes_then)


def _fits(members: int, members_bytes: int) -> bool:
    return members <= MEMBERS_MAX and members_bytes <= MEMBERS_BYTES_MAX


def _entry_bytes(user: UserId) -> int:
    """`"user":"member",` in JSON. A user id holds no control character: only these two are escaped."""
    return len(user.encode()) + user.count('"') + user.count("\\") + len('"":"member",')


def _evolve(state: ChannelState | None, event: e.Event) -> ChannelState | None:
    if isinstance(event, e.ChannelCreated):
        return _created(event)
    assert state is not None, "judge lets only channel.created pass without a state"
    if isinstance(event, e.MessagePosted):
        return replace(state, messages=state.messages + 1)
    match event:
        case (
            e.MemberJoined() | e.MemberInvited() | e.MemberRoleChanged() | e.MemberLeft() | e.MemberRemoved()
        ):
            return _populated(state, event)
        case e.PinAdded():
            return replace(state, pins=tuple(dict.fromkeys((*state.pins, event.ref))))
        case e.PinRemoved():
            return replace(state, pins=tuple(pin for pin in state.pins if pin != event.ref))
    return _described(state, event)


def _described(state: ChannelState, event: e.Event) -> ChannelState:
    match event:
        case e.ChannelRenamed():
            return replace(state, name=event.name)
        case e.ChannelTopicSet():
            return replace(state, topic=event.topic)
        case e.ChannelRetentionSet():
            return replace(state, retention_days=event.days)
        case e.MessagesExpired():
            return replace(state, expired_below=int(event.before))
        case e.ChannelArchived():
            return replace(state, archived=True)
        case e.ChannelUnarchived():
            return replace(state, archived=False)
    return state


_Membership = e.MemberJoined | e.MemberInvited | e.MemberRoleChanged | e.MemberLeft | e.MemberRemoved


def _who(event: _Membership) -> UserId:
    return event.author if isinstance(event, e.MemberJoined | e.MemberLeft) else event.user


def _populated(state: ChannelState, event: _Membership) -> ChannelState:
    user = _who(event)
    size = _entry_bytes(user)
    if isinstance(event, e.MemberRoleChanged):
        return replace(state, members={**state.members, user: event.role})
    if isinstance(event, e.MemberLeft | e.MemberRemoved):
        if user not in state.members:
            return state
        left = {member: role for member, role in state.members.items() if member != user}
        return replace(state, members=left, members_bytes=state.members_bytes - size)
    if user in state.members:
        return state
    role: e.Role = event.role if isinstance(event, e.MemberInvited) else "member"
    return replace(state, members={**state.members, user: role}, members_bytes=state.members_bytes + size)


def _created(event: e.ChannelCreated) -> ChannelState:
    members: dict[UserId, e.Role] = dict.fromkeys(event.members, "member")
    if event.channel_kind != "direct":
        members[event.author] = "admin"
    return ChannelState(
        kind=event.channel_kind,
        name=event.name,
        topic=event.topic,
        created_by=event.author,
        members=members,
        members_bytes=sum(map(_entry_bytes, members)),
    )
