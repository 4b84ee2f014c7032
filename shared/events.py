"""The events: every kind that may stand in a channel's log, defined once.

An event is stored as one JSON object (`encode`), read back by every service (`decode`) and shown to
clients in one form (`shared.wire_form`). What cannot be read is still numbered: it becomes `Unreadable`,
which every fold declares void, so that a bad body can neither stop a reader nor shift a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, Literal, get_args

import msgspec

from shared.errors import InvalidId
from shared.ids import SEQ_MAX, ChannelKey, CommandId, Seq, StreamSeq, UserId, user_id

Role = Literal["admin", "member"]
ChannelKind = Literal["public", "private", "direct"]

USERS_MAX = 50_000
"""User ids that are remembered as good ones: some 10 MB."""

Ref = Annotated[Seq, msgspec.Meta(ge=1, le=SEQ_MAX)]

RETENTION_DAYS_MAX = 36_500
RetentionDays = Annotated[int, msgspec.Meta(ge=1, le=RETENTION_DAYS_MAX)]


@lru_cache(USERS_MAX)
def _check(user: UserId) -> None:
    """Also when read: each becomes a token in a key, and a bad key would stop a reader for good."""
    try:
        user_id(user)
    except InvalidId as error:
        raise ValueError(error.message) from error


@dataclass(frozen=True, slots=True)
class Imported:
    """Says that an event was brought in from elsewhere: by whom, and when it really happened."""

    by: UserId
    at: str
    """RFC 3339."""

    def __post_init__(self) -> None:
        _check(self.by)


class _Base(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True, gc=False):
    """Raises ValueError for a bad user id.

    What is None is not stored. Other defaults are, because clients and the archive read them there: a factory
    makes them, which msgspec cannot compare with.
    """

    kind: ClassVar[str]
    """As it stands in the log; each class's `tag`."""
    v: Literal[1] = 1
    id: CommandId
    author: UserId
    imported: Imported | None = None

    def __post_init__(self) -> None:
        _check(self.author)


class _Targeted(_Base, frozen=True):
    ref: Ref
    """The seq of the message that this event is about."""


class _Authored(_Targeted, frozen=True):
    ref_author: UserId
    """Who wrote that message: it can never change, so the edge looks it up before it publishes."""

    def __post_init__(self) -> None:
        _check(self.author)
        _check(self.ref_author)


class _AboutUser(_Base, frozen=True):
    user: UserId

    def __post_init__(self) -> None:
        _check(self.author)
        _check(self.user)


class ChannelCreated(_Base, frozen=True, tag="channel.created"):
    """Always seq 1. The creator is its first admin; a direct channel's members are fixed."""

    channel_kind: ChannelKind
    name: str
    topic: str = msgspec.field(default_factory=lambda: "")
    members: tuple[UserId, ...] = msgspec.field(default_factory=lambda: ())

    def __post_init__(self) -> None:
        for user in (self.author, *self.members):
            _check(user)


class MessagePosted(_Base, frozen=True, tag="message.posted"):
    """A message; `thread` is the seq of the message that it answers."""

    text: str
    thread: Ref | None = None
    erased: Literal[True] | None = None
    """The text was taken out of it, for good; only what is stored has this, nobody publishes it."""


class MessageEdited(_Authored, frozen=True, tag="message.edited"):
    """New text of an earlier message; its version is this event's seq."""

    text: str
    erased: Literal[True] | None = None


class MessageDeleted(_Authored, frozen=True, tag="message.deleted"):
    """An earlier message is a tombstone from here on."""


class MessageErased(_Targeted, frozen=True, tag="message.erased"):
    """An earlier message, and each edit of it, has lost its text everywhere; the numbers stay (P22)."""


class UserErased(_AboutUser, frozen=True, tag="user.erased"):
    """So has everything that `user` has said in the channel before."""


class MessagesExpired(_Base, frozen=True, tag="messages.expired"):
    """So has what was said below `before`, with its edits: from before `older_than`, and retention is over.

    What was said below `since` had expired already.
    """

    since: Ref
    before: Ref
    older_than: str


class ReactionAdded(_Targeted, frozen=True, tag="reaction.added"):
    """`author` reacts to a message; the same reaction twice counts once."""

    emoji: str


class ReactionRemoved(_Targeted, frozen=True, tag="reaction.removed"):
    """`author` takes a reaction back."""

    emoji: str


class MemberJoined(_Base, frozen=True, tag="member.joined"):
    """`author` joins a public channel."""


class MemberLeft(_Base, frozen=True, tag="member.left"):
    """`author` leaves."""


class MemberInvited(_AboutUser, frozen=True, tag="member.invited"):
    """`author` adds `user`, who is a member from here on."""

    role: Role = msgspec.field(default_factory=lambda: "member")


class MemberRemoved(_AboutUser, frozen=True, tag="member.removed"):
    """`author`, an admin, removes `user` (the command is `kick`)."""


class MemberRoleChanged(_AboutUser, frozen=True, tag="member.role_changed"):
    """`author`, an admin, gives `user` another role."""

    role: Role


class ChannelRenamed(_Base, frozen=True, tag="channel.renamed"):
    """The channel's display name changes; its id never does."""

    name: str


class ChannelTopicSet(_Base, frozen=True, tag="channel.topic_set"):
    """The channel's topic changes."""

    topic: str


class ChannelRetentionSet(_Base, frozen=True, tag="channel.retention_set"):
    """Messages expire after so many whole days (UTC); without `days` they are kept for ever."""

    days: RetentionDays | None = None
    operator: Literal[True] | None = None
    """Set by one, who needs no membership: the edge asks for the right to."""


class ChannelArchived(_Base, frozen=True, tag="channel.archived"):
    """Nothing may be said here any more, until it is unarchived."""


class ChannelUnarchived(_Base, frozen=True, tag="channel.unarchived"):
    """The channel is open again."""


class PinAdded(_Targeted, frozen=True, tag="pin.added"):
    """A message is pinned."""


class PinRemoved(_Targeted, frozen=True, tag="pin.removed"):
    """A message is no longer pinned."""


class Unreadable(msgspec.Struct, frozen=True, gc=False):
    """Stands for a stored body that is no event of this version: numbered, void."""

    kind: ClassVar[str] = "unreadable"
    id: CommandId = CommandId("")
    author: UserId = UserId("")
    imported: None = None


KnownEvent = (
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
    | PinRemoved
)
Event = KnownEvent | Unreadable

EVENT_TYPES: tuple[type[_Base], ...] = get_args(KnownEvent)
for _type in EVENT_TYPES:
    _type.kind = str(_type.__struct_config__.tag)

_decoder: msgspec.json.Decoder[KnownEvent] = msgspec.json.Decoder(KnownEvent)
_encoder = msgspec.json.Encoder()


class Recorded(msgspec.Struct, frozen=True, gc=False):
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
    return b'{"v":1,' + _encoder.encode(event)[1:]


def decode(body: bytes) -> Event:
    """Read a stored body; anything that is not an event of this version is `Unreadable`."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Unreadable()
