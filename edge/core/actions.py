"""From a command to the event that it asks to record, or to the reason why not (P14, P21).

Pure: the channel's state, the caller and the target come in as values. The verdict on authorisation is the
fold's own (`shared.channel.judge`); what is added here is what the log does not decide: who may know that a
channel exists, limits on texts, targets that are no messages or were erased, and scopes.

To somebody who is no member, a private or direct channel is exactly what a channel that does not exist is:
every refusal about either is `absent()`, the same error with the same words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import msgspec

from edge.core import frames as f
from edge.core.principal import Principal
from shared import events as e
from shared.channel import ChannelState, judge, readable_by
from shared.clock import parse_rfc3339, rfc3339
from shared.errors import BadRequest, Conflict, Forbidden, InvalidId, NotFound, TooLarge
from shared.ids import (
    DIRECT_PREFIX,
    PRIVATE_PREFIX,
    ChannelId,
    CommandId,
    Seq,
    UserId,
    direct_channel_id,
    private_channel_id,
)

DIRECT_MEMBERS_MAX = 20


@dataclass(frozen=True, slots=True)
class Target:
    """The message that a command refers to: its number, who wrote it, and whether its text was erased."""

    seq: Seq
    author: UserId
    erased: bool = False


@dataclass(frozen=True, slots=True)
class Actor:
    """In whose name an event is recorded: the caller's, or with the import scope somebody else's."""

    author: UserId
    imported: e.Imported | None


def absent() -> NotFound:
    """The one answer about channels that the caller may not know of, existing or not."""
    return NotFound("no such channel, or none that you may know of")


def no_message(seq: Seq) -> NotFound:
    """The answer about a target that is no message."""
    return NotFound(f"there is no message with the number {seq} in this channel")


def actor(command: f.Writing, principal: Principal) -> Actor:
    """Who the author of the event is. Raises `Forbidden` without the scope, `BadRequest` for a bad time."""
    if command.imported is None:
        return Actor(principal.user, None)
    if not principal.may_import:
        raise Forbidden("imported needs a token with the scope import")
    try:
        at = rfc3339(parse_rfc3339(command.imported.at))
    except (ValueError, OverflowError) as error:
        raise BadRequest("imported.at must be an RFC 3339 time") from error
    return Actor(command.imported.author, e.Imported(by=principal.user, at=at))


def visible(
    state: ChannelState | None, principal: Principal, command: f.Writing | None = None
) -> ChannelState:
    """The state, if the caller may know that the channel exists; raises `absent()` if not."""
    importing = command is not None and command.imported is not None and principal.may_import
    erasing = _is_erasing(command) and principal.may_erase
    if state is None or not (importing or erasing or readable_by(state, principal.user)):
        raise absent()
    return state


def _is_erasing(command: f.Writing | None) -> bool:
    """What takes texts away, now or in days, is an operator's in any channel."""
    return isinstance(command, f.Erase) or (
        isinstance(command, f.UpdateChannel) and command.is_about_retention
    )


def member(state: ChannelState | None, principal: Principal) -> ChannelState:
    """The state, if the caller is a member; raises `Forbidden` in public channels, else `absent()`."""
    seen = visible(state, principal)
    if principal.user not in seen.members:
        raise Forbidden("only members may do this; join the channel first")
    return seen


def target_of(command: f.InChannel) -> Seq | None:
    """The number of the message that the command refers to, if it does."""
    match command:
        case f.Send():
            return command.thread
        case f.OnTarget() | f.Erase():
            return command.ref
    return None


def check_text(command: f.Writing, text_bytes_max: int) -> None:
    """Raises `TooLarge` if the command's text exceeds the limit (P3)."""
    if isinstance(command, f.Send | f.Edit) and len(command.text) > text_bytes_max // 4:
        size = len(command.text.encode())  # a character has at most 4 bytes
        if size > text_bytes_max:
            raise TooLarge(f"the text has {size} bytes, {text_bytes_max} are allowed", limit="text_bytes")


def event_of(
    command: f.InChannel, principal: Principal, state: ChannelState | None, target: Target | None
) -> e.KnownEvent:
    """The event to record, allowed in `state`. Raises `NotFound`, `Forbidden`, `Conflict`; see `actor`.

    `target` is the message at `target_of(command)`.
    """
    who = actor(command, principal)
    seen = visible(state, principal, command)
    if isinstance(command, f.Erase) and not principal.may_erase:
        raise Forbidden("erase needs a token with the scope erase")
    event = draft(command, who, target)
    if isinstance(event, e.ChannelRetentionSet) and principal.may_erase:
        event = msgspec.structs.replace(event, operator=True)
    void = judge(seen, event)
    if void is not None:
        raise Forbidden(void)
    if isinstance(command, f.Edit) and target is not None and target.erased:
        raise Conflict("the message was erased: it can have no text any more")
    return event


def draft(command: f.InChannel, who: Actor, target: Target | None) -> e.KnownEvent:
    """The event that a command means, allowed or not."""
    match command:
        case f.Send():
            return e.MessagePosted(**_head(command, who), text=command.text, thread=command.thread)
        case f.Join():
            return e.MemberJoined(**_head(command, who))
        case f.Leave():
            return e.MemberLeft(**_head(command, who))
        case f.Invite():
            return e.MemberInvited(**_head(command, who), user=command.user, role=command.role)
        case f.Kick():
            return e.MemberRemoved(**_head(command, who), user=command.user)
        case f.SetRole():
            return e.MemberRoleChanged(**_head(command, who), user=command.user, role=command.role)
        case f.UpdateChannel():
            return _update(command, who)
        case f.Erase():
            return _erasure(command, who, target)
        case f.OnTarget():
            return _on_target(command, who, _message(command.ref, target))
    raise AssertionError(f"no event for {type(command).__name__}")


def _erasure(command: f.Erase, who: Actor, target: Target | None) -> e.KnownEvent:
    if command.ref is not None:
        return e.MessageErased(**_head(command, who), ref=_message(command.ref, target).seq)
    assert command.user is not None, "a frame names exactly one of both"
    return e.UserErased(**_head(command, who), user=command.user)


def _message(ref: Seq, target: Target | None) -> Target:
    if target is None:
        raise no_message(ref)
    return target


def creation_of(command: f.CreateChannel, principal: Principal) -> tuple[ChannelId, e.ChannelCreated]:
    """The new channel's id and its first event. Raises `BadRequest` or `InvalidId`."""
    who = actor(command, principal)
    members = frozenset(command.members) - {who.author}
    if command.kind == "direct":
        members |= {who.author}
        if len(members) > DIRECT_MEMBERS_MAX:
            raise BadRequest(f"a direct channel has at most {DIRECT_MEMBERS_MAX} members")
    channel = _new_channel_id(command, who.author, members)
    event = e.ChannelCreated(
        **_head(command, who),
        channel_kind=command.kind,
        name=command.name or ("" if command.kind == "direct" else str(channel)),
        topic=command.topic,
        members=tuple(sorted(members)),
    )
    return channel, event


def _new_channel_id(command: f.CreateChannel, author: UserId, members: frozenset[UserId]) -> ChannelId:
    if command.kind == "public":
        if command.channel is None:
            raise BadRequest("channel: a public channel needs an id of your choice")
        if command.channel.startswith((PRIVATE_PREFIX, DIRECT_PREFIX)):
            raise InvalidId(
                f"{PRIVATE_PREFIX} and {DIRECT_PREFIX} begin the ids of private and direct channels"
            )
        return command.channel
    if command.channel is not None:
        raise BadRequest("channel: only a public channel's id can be chosen; the ack names this one's")
    if command.kind == "private":
        return private_channel_id(author, command.id)
    return direct_channel_id(members)


class _Head(TypedDict):
    """The fields that all events share."""

    id: CommandId
    author: UserId
    imported: e.Imported | None


def _head(command: f.Writing, who: Actor) -> _Head:
    return {"id": command.id, "author": who.author, "imported": who.imported}


def _update(command: f.UpdateChannel, who: Actor) -> e.KnownEvent:
    if command.name is not None:
        return e.ChannelRenamed(**_head(command, who), name=command.name)
    if command.topic is not None:
        return e.ChannelTopicSet(**_head(command, who), topic=command.topic)
    if command.is_about_retention:
        return e.ChannelRetentionSet(**_head(command, who), days=command.retention_days)
    return (
        e.ChannelArchived(**_head(command, who))
        if command.archived
        else e.ChannelUnarchived(**_head(command, who))
    )


def _on_target(command: f.OnTarget, who: Actor, target: Target) -> e.KnownEvent:
    match command:
        case f.Edit():
            return e.MessageEdited(
                **_head(command, who), ref=target.seq, ref_author=target.author, text=command.text
            )
        case f.Delete():
            return e.MessageDeleted(**_head(command, who), ref=target.seq, ref_author=target.author)
        case f.React():
            return e.ReactionAdded(**_head(command, who), ref=target.seq, emoji=command.emoji)
        case f.Unreact():
            return e.ReactionRemoved(**_head(command, who), ref=target.seq, emoji=command.emoji)
        case f.Pin():
            return e.PinAdded(**_head(command, who), ref=target.seq)
        case f.Unpin():
            return e.PinRemoved(**_head(command, who), ref=target.seq)
    raise AssertionError(f"no event for {type(command).__name__}")
