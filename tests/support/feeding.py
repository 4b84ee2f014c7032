"""A channel that others write to, and what a feed makes of it."""

from __future__ import annotations

from edge.fanout import Flush
from edge.feed import Feed
from edge.feeds import Feeds
from shared.bus import Bus
from shared.events import ChannelCreated, KnownEvent, MessagePosted, encode
from shared.ids import ChannelId, ChannelKey, Partition, StreamSeq, UserId, WorkspaceId, derived_command_id
from shared.subjects import channel_subject, message_id, partition_of

ANN = UserId("ann")


class Seen:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.calls = 0
        self.resets: list[str] = []

    def on_flush(self, flush: Flush) -> None:
        """Remember what arrived."""
        self.calls += 1
        self.seqs += [entry.seq for entry in flush.entries]

    def on_reset(self, reason: str) -> None:
        """Remember why the feed died."""
        self.resets.append(reason)


class Channel:
    """A channel that is written directly, as any other edge would."""

    def __init__(self, bus: Bus, name: str) -> None:
        self.bus = bus
        self.key = ChannelKey(WorkspaceId("w"), ChannelId(name))
        self.partition: Partition = partition_of(self.key, 2)
        self.subject = channel_subject(self.partition, self.key)
        self.written = 0

    async def write(self, event: KnownEvent) -> StreamSeq:
        """Commit one event."""
        ack = await self.bus.commit(
            self.subject, encode(event), msg_id=message_id(self.key, event.author, event.id)
        )
        return ack.stream_seq

    async def create(self) -> StreamSeq:
        """Its first event."""
        return await self.write(
            ChannelCreated(id=self.next_id(), author=ANN, channel_kind="public", name="n")
        )

    async def post(self, count: int = 1) -> StreamSeq:
        """Messages; returns the position of the last."""
        last = StreamSeq(0)
        for _ in range(count):
            last = await self.write(MessagePosted(id=self.next_id(), author=ANN, text="hello"))
        return last

    def next_id(self) -> str:
        """A new id."""
        self.written += 1
        return derived_command_id(1, self.key.channel, str(self.written))


async def active(feeds: Feeds, channel: Channel) -> Feed:
    """The activated feed of a channel that exists."""
    feed = (await feeds.activate([channel.key]))[channel.key]
    assert feed is not None
    return feed


async def deafen(feed: Feed) -> None:
    """From now on nothing that is republished reaches the feed."""
    assert feed._subscription is not None
    await feed._subscription.unsubscribe()
