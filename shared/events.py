"""The events: every kind that may stand in a channel's log, defined once.

An event is stored as one JSON object (`encode`), read back by every service (`decode`) and shown to
clients in one form (`shared.wire_form`). What cannot be read is still numbered: it becomes `Unreadable`,
which every fold declares void, so that a bad body can neither stop a reader nor shift a number.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared.errors import InvalidId
from shared.ids import SEQ_MAX, ChannelKey, CommandId, Seq, StreamSeq, UserId, user_id

Role = Literal["admin", "member"]
ChannelKind = Literal["public", "private", "direct"]


def _checked_user(text: UserId) -> UserId:
    try:
        return user_id(text)
    except InvalidId as error:
        raise ValueError(error.message) from error


User = Annotated[UserId, AfterValidator(_checked_user)]
"""Checked when read, too: each becomes a token in a key, and a bad key would stop a reader for good."""

Ref = Annotated[Seq, Field(ge=1, le=SEQ_MAX)]

RetentionDays = Annotated[int, Field(ge=1, le=36_500)]


class Imported(BaseModel):
    """Says that an event was brought in from elsewhere: by whom, and when it really happened."""

    model_config = ConfigDict(frozen=True)

    by: User
    at: str
    """RFC 3339."""


class _Base(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    v: Literal[1] = 1
    id: CommandId
    author: User
    imported: Imported | None = None


class _Targeted(_Base):
    ref: Ref
    """The seq of the message that this event is about."""


class _Authored(_Targeted):
    ref_author: User
    """Who wrote that message: it can never change, so the edge looks it up before it publishes."""


class ChannelCreated(_Base):
    """Always seq 1. The creator is its first admin; a direct channel's members are fixed."""

    kind: Literal["channel.created"] = "channel.created"
    channel_kind: ChannelKind
    name: str
    topic: str = ""
    members: tuple[User, ...] = ()


class MessagePosted(_Base):
    """A message; `thread` is the seq of the message that it answers."""

    kind: Literal["message.posted"] = "message.posted"
    text: str
    thread: Ref | None = None
    erased: Literal[True] | None = None
    """The text was taken out of it, for good; only what is stored has this, nobody publishes it."""


class MessageEdited(_Authored):
    """New text of an earlier message; its version is this event's seq."""

    kind: Literal["message.edited"] = "message.edited"
    text: str
    erased: Literal[True] | None = None


class MessageDeleted(_Authored):
    """An earlier message is a tombstone from here on."""

    kind: Literal["message.deleted"] = "message.deleted"


class MessageErased(_Targeted):
    """An earlier message, and each edit of it, has lost its text everywhere; the numbers stay (P22)."""

    kind: Literal["message.erased"] = "message.erased"


class UserErased(_Base):
    """So has everything that `user` has said in the channel before."""

    kind: Literal["user.erased"] = "user.erased"
    user: User


class MessagesExpired(_Base):
    """So has what was said below `before`, with its edits: from before `older_than`, and retention is over.

    What was said below `since` had expired already.
    """

    kind: Literal["messages.expired"] = "messages.expired"
    since: Ref
    before: Ref
    older_than: str


class ReactionAdded(_Targeted):
    """`author` reacts to a message; the same reaction twice counts once."""

    kind: Literal["reaction.added"] = "reaction.added"
    emoji: str


class ReactionRemoved(_Targeted):
    """`author` takes a reaction back."""

    kind: Literal["reaction.removed"] = "reaction.removed"
    emoji: str


class MemberJoined(_Base):
    """`author` joins a public channel."""

    kind: Literal["member.joined"] = "member.joined"


class MemberLeft(_Base):
    """`author` leaves."""

    kind: Literal["member.left"] = "member.left"


class MemberInvited(_Base):
    """`author` adds `user`, who is a member from here on."""

    kind: Literal["member.invited"] = "member.invited"
    user: User
    role: Role = "member"


class MemberRemoved(_Base):
    """`author`, an admin, removes `user` (the command is `kick`)."""

    kind: Literal["member.removed"] = "member.removed"
    user: User


class MemberRoleChanged(_Base):
    """`author`, an admin, gives `user` another role."""

    kind: Literal["member.role_changed"] = "member.role_changed"
    user: User
    role: Role


class ChannelRenamed(_Base):
    """The channel's display name changes; its id never does."""

    kind: Literal["channel.renamed"] = "channel.renamed"
    name: str


class ChannelTopicSet(_Base):
    """The channel's topic changes."""

    kind: Literal["channel.topic_set"] = "channel.topic_set"
    topic: str


class ChannelRetentionSet(_Base):
    """Messages expire after so many whole days (UTC); without `days` they are kept for ever."""

    kind: Literal["channel.retention_set"] = "channel.retention_set"
    days: RetentionDays | None = None
    operator: Literal[True] | None = None
    """Set by one, who needs no membership: the edge asks for the right to."""


class ChannelArchived(_Base):
    """Nothing may be said here any more, until it is unarchived."""

    kind: Literal["channel.archived"] = "channel.archived"


class ChannelUnarchived(_Base):
    """The channel is open again."""

    kind: Literal["channel.unarchived"] = "channel.unarchived"


class PinAdded(_Targeted):
    """A message is pinned."""

    kind: Literal["pin.added"] = "pin.added"


class PinRemoved(_Targeted):
    """A message is no longer pinned."""

    kind: Literal["pin.removed"] = "pin.removed"


class Unreadable(BaseModel):
    """Stands for a stored body that is no event of this version: numbered, void."""

    model_config = ConfigDict(frozen=True)

    kind: ClassVar[str] = "unreadable"
    id: CommandId = CommandId("")
    author: UserId = UserId("")
    imported: None = None


KnownEvent = Annotated[
    ChannelCreated
    | MessagePosted
    | MessageEdited
    | MessageDeleted
    | MessageErased
    | UserErased
    | MessagesExpired
    | ReactionAdded
    | ReactionRemoved
    | MemberJoined
    | MemberLeft
    | MemberInvited
    | MemberRemoved
    | MemberRoleChanged
    | ChannelRenamed
    | ChannelTopicSet
    | ChannelRetentionSet
    | ChannelArchived
    | ChannelUnarchived
    | PinAdded
    | PinRemoved,
    Field(discriminator="kind"),
]
Event = KnownEvent | Unreadable

_EVENTS: TypeAdapter[KnownEvent] = TypeAdapter(KnownEvent)


class Recorded(NamedTuple):
    """An event at its position in the log, with the verdict of the fold there.

    `at_us` is the log's time (microseconds since 1970); `void` is the reason why the event had no effect.
    """

    key: ChannelKey
    seq: Seq
    stream_seq: StreamSeq
    at_us: int
    event: Event
    void: str | None = None


def encode(event: KnownEvent) -> bytes:
    """The body that is stored in the log."""
    if isinstance(event, MessagePosted):  # most events: a third of what the model costs
        return b'{"v":1,' + posted_fields(event)[1:]
    return event.model_dump_json(exclude_none=True).encode()


def decode(body: bytes) -> Event:
    """Read a stored body; anything that is not an event of this version is `Unreadable`."""
    try:
        return _EVENTS.validate_json(body)
    except ValidationError:
        return Unreadable()


def posted_fields(event: MessagePosted) -> bytes:
    """A message as clients see it, in the words and the order of its model."""
    fields: dict[str, object] = {"id": event.id, "author": event.author}
    if event.imported is not None:
        fields["imported"] = {"by": event.imported.by, "at": event.imported.at}
    fields |= {"kind": event.kind, "text": event.text}
    if event.thread is not None:
        fields["thread"] = event.thread
    if event.erased:
        fields["erased"] = True
    return orjson.dumps(fields)
