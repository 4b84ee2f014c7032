"""What a client hears: events of its channels, and what happened to its view of them.

`Gap` and `Reset` say that events are missing and why; a client never skips silently (P7).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from shared.client.wire import ChannelInfo, EventFrame
from shared.ids import ChannelId, Epoch, Seq, UserId


class Ack(NamedTuple):
    """The command's event is durable at `seq`; `duplicate`: it was so before this command (P12)."""

    id: str
    channel: ChannelId
    seq: Seq
    ts: str
    duplicate: bool


class ChannelEvent:
    """An event of a channel; `frame` is the whole of it, as the server sent it."""

    __slots__ = ("frame",)

    def __init__(self, frame: EventFrame) -> None:
        self.frame = frame

    @property
    def channel(self) -> ChannelId:
        """The channel."""
        return self.frame["channel"]

    @property
    def seq(self) -> Seq:
        """The event's number in the channel."""
        return self.frame["seq"]

    @property
    def kind(self) -> str:
        """`message.posted`, `member.joined`, … or `void`."""
        return self.frame["kind"]

    @property
    def author(self) -> UserId:
        """Who made it."""
        return self.frame["author"]

    @property
    def text(self) -> str:
        """The text of a message, empty for other kinds."""
        return self.frame.get("text", "")

    @property
    def ts(self) -> str:
        """The log's time, RFC 3339."""
        return self.frame["ts"]

    def __repr__(self) -> str:
        return f"ChannelEvent({self.channel} #{self.seq} {self.kind} by {self.author})"


@dataclass(frozen=True, slots=True)
class Opened:
    """Events of this channel follow, from `seq + 1` on."""

    channel: ChannelId
    epoch: Epoch
    seq: Seq


@dataclass(frozen=True, slots=True)
class Resumed:
    """A replay ended: `count` events were sent; `complete` is the server's word on it."""

    channel: ChannelId
    seq: Seq
    count: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """The events above `after` up to `upto` will not come (`upto` None: the rest is not for us)."""

    channel: ChannelId
    after: Seq
    upto: Seq | None
    reason: str


@dataclass(frozen=True, slots=True)
class Reset:
    """What was known of this channel is void; its events begin again above `seq` in `epoch`."""

    channel: ChannelId
    reason: str
    epoch: Epoch
    seq: Seq


@dataclass(frozen=True, slots=True)
class Membership:
    """The user became a member (`info` is complete) or is none any more (`info` is None)."""

    channel: ChannelId
    info: ChannelInfo | None


@dataclass(frozen=True, slots=True)
class Typing:
    """A member types; forget it after six seconds or at that member's next event (P16)."""

    channel: ChannelId
    user: UserId


@dataclass(frozen=True, slots=True)
class ReadMoved:
    """This user has read up to `seq`, on whichever session."""

    channel: ChannelId
    seq: Seq
    unread: int


@dataclass(frozen=True, slots=True)
class Online:
    """A session is open on `node`."""

    session: str
    node: str
    user: UserId


@dataclass(frozen=True, slots=True)
class Offline:
    """The connection is gone; the next try starts in `retry_in_s`."""

    code: int
    reason: str
    retry_in_s: float


Update = ChannelEvent | Opened | Resumed | Gap | Reset | Membership | Typing | ReadMoved | Online | Offline
