"""The hot events of one partition: numbered and folded here, not yet in Parquet.

A channel is *resident* from the moment when its position in the archive has been loaded until a commit that
holds no event of it: where much is said, nothing is loaded again. `add` numbers one message of the stream;
`cut` freezes what is there for a segment; `drop` forgets it once the segment is committed. Between the two
the events stay visible, so a reader that looks first here and then at the manifest sees each event once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import msgspec

from archiver.core.hot_messages import HotMessages
from shared.channel import ChannelState, fold, readable_by
from shared.events import MessagePosted, Recorded, Unreadable, decode
from shared.ids import ChannelId, ChannelKey, CommandId, Seq, StreamSeq, UserId, WorkspaceId

EVENT_OVERHEAD_BYTES = 700
"""What an event costs in memory beyond its body (measured 2026-11-27: 642 for a message)."""

SUBJECTS_MAX = 50_000
"""Subjects whose channel is remembered: some 20 MB."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """Where a channel stands: its newest event, and the state after it. `seq` 0: nothing yet.

    `greatest`: no id in the channel is greater, whoever its author is.
    """

    seq: Seq
    stream_seq: StreamSeq
    state: ChannelState | None
    greatest: str = ""

    @property
    def messages(self) -> int:
        """How many messages the channel holds."""
        return self.state.messages if self.state else 0


NOTHING_YET = Head(Seq(0), StreamSeq(0), None)


class HotEvent(msgspec.Struct, frozen=True, gc=False):
    """An event at its position, the stored body, and the channel's count of messages up to it."""

    recorded: Recorded
    body: bytes
    messages: int


def counted(
    key: ChannelKey, head: Head, stream_seq: StreamSeq, at_us: int, body: bytes
) -> tuple[Head, HotEvent]:
    """A channel's next event, numbered and folded, and where the channel stands then."""
    event = decode(body)
    state, void = fold(head.state, event)
    after = Head(Seq(head.seq + 1), stream_seq, state, max(head.greatest, event.id))
    recorded = Recorded(key, after.seq, stream_seq, at_us, event, void)
    return after, HotEvent(recorded, body, after.messages)


ChannelEvents = tuple[ChannelKey, Head, Sequence[HotEvent]]
"""Consecutive events of a channel, and where it stands after them."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Hot events for one segment: all up to `hi`, which is of `hi_us`; per channel in order of seq."""

    lo: StreamSeq
    hi: StreamSeq
    hi_us: int
    channels: tuple[ChannelEvents, ...]


@dataclass(slots=True)
class _Channel:
    head: Head
    events: list[HotEvent] = field(default_factory=list)
    messages: HotMessages = field(default_factory=HotMessages)
    ids: dict[tuple[UserId, CommandId], HotEvent] = field(default_factory=dict)

    def drop(self, events: Sequence[HotEvent]) -> None:
        """Forget the oldest events: these."""
        del self.events[: len(events)]
        self.messages.drop(events)
        for hot in events:
            event = hot.recorded.event
            if self.ids.get((event.author, event.id)) is hot:
                del self.ids[event.author, event.id]


class Hot:
    """What a partition's archive knows beyond its manifest. `hi` is the manifest's end."""

    def __init__(self, hi: StreamSeq) -> None:
        self._floor = hi
        self.applied = hi
        self._applied_us = 0
        self.bytes = 0
        self._channels: dict[ChannelKey, _Channel] = {}
        self._regrouped: dict[ChannelKey, StreamSeq] = {}
        self._ordered: list[HotEvent] = []

    def __len__(self) -> int:
        return self.applied - self._floor

    def missing(self, keys: Iterable[ChannelKey]) -> list[ChannelKey]:
        """Which of these channels are not resident, each once."""
        return [key for key in dict.fromkeys(keys) if key not in self._channels]

    def load(self, key: ChannelKey, head: Head) -> None:
        """Make a channel resident at its position in the archive."""
        self._channels.setdefault(key, _Channel(head))

    def add(self, key: ChannelKey, stream_seq: StreamSeq, at_us: int, body: bytes) -> HotEvent:
        """Number and fold the stream's next message; its channel must be resident."""
        assert stream_seq == self.applied + 1, f"{stream_seq} does not follow {self.applied}"
        channel = self._channels[key]
        channel.head, hot = counted(key, channel.head, stream_seq, at_us, body)
        channel.events.append(hot)
        channel.messages.add(hot)
        self._ordered.append(hot)
        event = hot.recorded.event
        if not isinstance(event, Unreadable):
            channel.ids.setdefault((event.author, event.id), hot)
        if not isinstance(event, MessagePosted) and event.kind.startswith(("member.", "channel.created")):
            self._regrouped[key] = stream_seq
        self.applied, self._applied_us = stream_seq, at_us
        self.bytes += len(body) + EVENT_OVERHEAD_BYTES
        return hot

    def head(self, key: ChannelKey) -> Head | None:
        """The channel's position, if it is resident."""
        channel = self._channels.get(key)
        return channel.head if channel else None

    def floor(self, key: ChannelKey) -> Seq | None:
        """The seq of the channel's first hot event; below it, everything is in Parquet."""
        channel = self._channels.get(key)
        return channel.events[0].recorded.seq if channel and channel.events else None

    def between(self, key: ChannelKey, first: Seq, last: Seq) -> Sequence[HotEvent]:
        """The channel's hot events with these seqs, both inclusive: consecutive."""
        floor = self.floor(key)
        if floor is None:
            return ()
        return tuple(self._channels[key].events[max(0, first - floor) : max(0, last - floor + 1)])

    def messages(self, key: ChannelKey) -> HotMessages:
        """The channel's hot messages."""
        channel = self._channels.get(key)
        return channel.messages if channel else HotMessages()

    @property
    def begins_behind(self) -> StreamSeq:
        """The position behind which everything is hot: that of the manifest."""
        return self._floor

    def behind(self, after: StreamSeq, limit: int) -> Sequence[HotEvent]:
        """The hot events of all channels behind a position that is not below the manifest's, in order."""
        assert after >= self._floor, f"what follows {after} is not hot any more: that begins at {self._floor}"
        return self._ordered[after - self._floor : after - self._floor + limit]

    def known(self, key: ChannelKey, author: UserId, command: CommandId) -> HotEvent | None:
        """The hot event with this id."""
        channel = self._channels.get(key)
        return channel.ids.get((author, command)) if channel else None

    def readable(self, workspace: WorkspaceId, user: UserId) -> dict[ChannelId, bool]:
        """Whether the user may read each channel of which hot events can have changed who may."""
        return {
            key.channel: readable_by(self._channels[key].head.state, user)
            for key in self._regrouped
            if key.workspace == workspace
        }

    def cut(self) -> Batch:
        """Everything hot, for the next segment."""
        filled = [(key, channel) for key, channel in sorted(self._channels.items()) if channel.events]
        channels = tuple((key, channel.head, tuple(channel.events)) for key, channel in filled)
        return Batch(StreamSeq(self._floor + 1), self.applied, self._applied_us, channels)

    def drop(self, batch: Batch) -> None:
        """Forget a batch that is committed now, and channels of which it held nothing and nothing is hot."""
        del self._ordered[: batch.hi - self._floor]
        self._floor = batch.hi
        for key in [key for key, channel in self._channels.items() if not channel.events]:
            del self._channels[key]
        for key, _, events in batch.channels:
            self.bytes -= sum(len(hot.body) + EVENT_OVERHEAD_BYTES for hot in events)
            channel = self._channels[key]
            if len(channel.events) > len(events):
                channel.drop(events)
            else:
                self._channels[key] = _Channel(channel.head)
            if self._regrouped.get(key, batch.hi + 1) <= batch.hi:
                del self._regrouped[key]


@lru_cache(SUBJECTS_MAX)
def key_of_subject(subject: str) -> ChannelKey:
    """The channel of a stored message, whatever its subject: numbering may stop at nothing.

    The edge validates ids; a subject that some other publisher made up still belongs to some channel.
    """
    tokens = subject.split(".")
    if len(tokens) == 4:
        return ChannelKey(WorkspaceId(tokens[2]), ChannelId(tokens[3]))
    return ChannelKey(WorkspaceId(""), ChannelId(subject))
