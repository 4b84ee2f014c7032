"""Feeds against a real log: exact numbers whatever is lost, late, or was never republished."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from edge.fanout import Flush
from edge.feed import Feed
from edge.feeds import FeedLimits, Feeds
from shared.bus import Bus, Message
from shared.errors import Unavailable
from shared.events import ChannelCreated, KnownEvent, MemberLeft, MessagePosted, encode
from shared.ids import (
    ChannelId,
    ChannelKey,
    Partition,
    Seq,
    StreamSeq,
    UserId,
    WorkspaceId,
    derived_command_id,
)
from shared.records import Checkpoint, Head, Heads
from shared.settings import CommonSettings
from shared.streams import Layout, ensure_streams
from shared.subjects import (
    CHECKPOINTS,
    channel_subject,
    checkpoint_key,
    heads_subject,
    kv_subject,
    live_subject,
    message_id,
    partition_of,
)
from tests.support.nats import NatsServer
from tests.support.waiting import eventually

ANN = UserId("ann")


class Seen:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.calls = 0
        self.resets: list[str] = []

    def on_flush(self, _: Feed, flush: Flush) -> None:
        """Remember what arrived."""
        self.calls += 1
        self.seqs += [entry.seq for entry in flush.entries]

    def on_reset(self, _: Feed, reason: str) -> None:
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


@pytest.fixture
async def layout(bus: Bus, settings: CommonSettings) -> Layout:
    """The streams."""
    return await ensure_streams(bus, settings)


@pytest.fixture
async def feeds(bus: Bus, layout: Layout) -> AsyncIterator[Feeds]:
    """The feeds of one edge."""
    async with Feeds(bus, layout, FeedLimits(linger_s=60, ring_entries_max=50)) as feeds:
        yield feeds


async def active(feeds: Feeds, channel: Channel) -> Feed:
    """The activated feed of a channel that exists."""
    feed = (await feeds.activate([channel.key]))[channel.key]
    assert feed is not None
    return feed


async def deafen(feed: Feed) -> None:
    """From now on nothing that is republished reaches the feed."""
    assert feed._subscription is not None
    await feed._subscription.unsubscribe()


async def test_activation_counts_the_log(bus: Bus, feeds: Feeds) -> None:
    """Without any checkpoint the number is the count of the channel's events, and live events follow on."""
    channel = Channel(bus, "count")
    await channel.create()
    await channel.post(30)
    feed = await active(feeds, channel)
    seen = Seen()
    feed.attach(seen)
    assert (feed.head, feed.messages) == (31, 30)
    await channel.post(5)
    await eventually(lambda: seen.seqs == [32, 33, 34, 35, 36])


async def test_activation_from_a_checkpoint(bus: Bus, feeds: Feeds) -> None:
    """A checkpoint shortens the tail and changes nothing else."""
    channel = Channel(bus, "checkpoint")
    await channel.create()
    at = await channel.post(9)
    await channel.post(10)
    first = await active(feeds, channel)
    checkpoint = Checkpoint(seq=Seq(10), stream_seq=at, state=replace(first.state, messages=9))
    await bus.commit(
        kv_subject(CHECKPOINTS, checkpoint_key(channel.partition, channel.key)),
        checkpoint.model_dump_json().encode(),
    )
    async with Feeds(bus, feeds._layout, FeedLimits()) as others:
        second = await active(others, channel)
        assert (second.head, second.stream_seq, second.state) == (first.head, first.stream_seq, first.state)
        assert second.ring.floor == 11


async def test_activation_while_others_write(bus: Bus, feeds: Feeds) -> None:
    """Nothing is lost or doubled between the tail that is read and the live messages that follow."""
    channel = Channel(bus, "busy")
    await channel.create()
    writing = asyncio.create_task(channel.post(200))
    await eventually(lambda: channel.written > 20)
    feed = await active(feeds, channel)
    start = feed.head
    seen = Seen()
    feed.attach(seen)
    await writing
    await eventually(lambda: feed.head == 201)
    await eventually(lambda: len(seen.seqs) == 201 - start)
    assert seen.seqs == list(range(start + 1, 202))


async def test_batch_activation_and_absent_channels(bus: Bus, feeds: Feeds) -> None:
    """Many channels come up together; those that were never created are None and cost nothing after."""
    channels = [Channel(bus, f"many{n}") for n in range(60)]
    for channel in channels[:50]:
        await channel.create()
    found = await feeds.activate([channel.key for channel in channels])
    assert [found[channel.key] is not None for channel in channels] == [True] * 50 + [False] * 10
    assert feeds.get(channels[55].key) is None


async def test_next_message_reveals_a_hole(bus: Bus, feeds: Feeds) -> None:
    """What was never republished is read from the log as soon as a later message arrives (AT-03)."""
    channel = Channel(bus, "hole")
    await channel.create()
    feed = await active(feeds, channel)
    seen = Seen()
    feed.attach(seen)
    await deafen(feed)
    await channel.post(20)
    await feed.subscribe()
    await channel.post(1)
    await eventually(lambda: seen.seqs == list(range(2, 23)))


async def test_heads_reveal_what_a_quiet_channel_lost(bus: Bus, feeds: Feeds) -> None:
    """One message that was never republished, then silence: the sequencer's heads bring it (AT-02)."""
    channel = Channel(bus, "quiet")
    await channel.create()
    feed = await active(feeds, channel)
    seen = Seen()
    feed.attach(seen)
    await deafen(feed)
    lost = await channel.post()
    head = Head(workspace=channel.key.workspace, channel=channel.key.channel, seq=Seq(2), stream_seq=lost)
    await bus.publish(heads_subject(channel.partition), Heads(heads=(head,)).model_dump_json().encode())
    await eventually(lambda: seen.seqs == [2])


async def test_sweep_reveals_what_a_quiet_channel_lost(bus: Bus, feeds: Feeds) -> None:
    """Without a sequencer a sweep over the heads of the log brings it too."""
    channel = Channel(bus, "swept")
    await channel.create()
    feed = await active(feeds, channel)
    seen = Seen()
    feed.attach(seen)
    await deafen(feed)
    await channel.post(3)
    feeds.sweep_soon("interval")
    await eventually(lambda: seen.seqs == [2, 3, 4])


async def test_own_ack_reveals_a_lost_republish(bus: Bus, feeds: Feeds) -> None:
    """Who was acked gets the number, even if the republish never comes."""
    channel = Channel(bus, "acked")
    await channel.create()
    feed = await active(feeds, channel)
    await deafen(feed)
    position = await channel.post()
    entry = await feed.settled(position, 5)
    assert entry is not None
    assert entry.seq == 2


async def test_late_messages_of_an_old_leader_are_dropped(bus: Bus, feeds: Feeds) -> None:
    """A republished message that arrives again, or seconds late, changes nothing."""
    channel = Channel(bus, "late")
    await channel.create()
    feed = await active(feeds, channel)
    seen = Seen()
    feed.attach(seen)
    live: list[Message] = []
    await bus.subscribe(live_subject(channel.partition, channel.key), live.append)
    await channel.post(5)
    await eventually(lambda: len(live) == 5 and len(seen.seqs) == 5)
    for message in reversed(live):
        await bus.publish(message.subject, message.body, headers=message.headers)
    await eventually(lambda: len(live) == 10)
    await channel.post()
    await eventually(lambda: seen.seqs == list(range(2, 8)))


async def test_forged_live_message_without_position_is_ignored(bus: Bus, feeds: Feeds) -> None:
    """What does not carry the stream's own headers is not an event."""
    channel = Channel(bus, "forged")
    await channel.create()
    feed = await active(feeds, channel)
    await bus.publish(live_subject(channel.partition, channel.key), b"{}")
    await channel.post()
    await eventually(lambda: feed.head == 2)


async def test_lost_end_resets(bus: Bus, feeds: Feeds) -> None:
    """A log that lost what we had is never continued silently: sinks are told, the feed is dead."""
    channel = Channel(bus, "regressed")
    await channel.create()
    feed = await active(feeds, channel)
    seen = Seen()
    feed.attach(seen)
    position = await channel.post(2)
    await eventually(lambda: feed.head == 3)
    headers = {
        "Nats-Sequence": str(position + 7),
        "Nats-Last-Sequence": "1",
        "Nats-Time-Stamp": "2026-11-25T04:00:00Z",
    }
    feed._on_live(Message(channel.subject, b"{}", headers, ""))
    assert seen.resets == ["regressed"]
    assert feeds.get(channel.key) is None
    again = await active(feeds, channel)
    assert again.head == 3


async def test_garbage_in_the_log_is_numbered(bus: Bus, feeds: Feeds) -> None:
    """A body that is no event is void, has a number, and stops nobody (AT-80)."""
    channel = Channel(bus, "garbage")
    await channel.create()
    await bus.commit(channel.subject, b"\xff\x00 not json")
    await channel.post()
    feed = await active(feeds, channel)
    garbage = feed.ring.get(Seq(2))
    assert garbage is not None
    assert garbage.recorded.void == "unreadable"
    assert feed.head == 3


async def test_void_event_changes_nothing(bus: Bus, feeds: Feeds) -> None:
    """A message of somebody who has left is numbered and void."""
    channel = Channel(bus, "void")
    await channel.create()
    feed = await active(feeds, channel)
    await channel.write(MemberLeft(id=channel.next_id(), author=ANN))
    position = await channel.post()
    entry = await feed.settled(position, 5)
    assert entry is not None
    assert (entry.seq, entry.recorded.void) == (3, "author is not a member")
    assert feed.messages == 0


async def test_a_burst_reaches_a_sink_in_few_calls(bus: Bus, feeds: Feeds) -> None:
    """Events of one loop iteration are handed over together (coalesced), in order."""
    channel = Channel(bus, "burst")
    await channel.create()
    feed = await active(feeds, channel)
    seen = Seen()
    feed.attach(seen)
    await deafen(feed)
    await channel.post(40)
    feeds.sweep_soon("interval")
    await eventually(lambda: len(seen.seqs) == 40)
    assert seen.calls <= 2


async def test_a_flush_that_takes_long_is_followed_by_fewer_and_larger_ones(bus: Bus, feeds: Feeds) -> None:
    """A large channel does not take the whole loop: what arrives while it rests goes out together."""

    class Slow(Seen):
        def on_flush(self, feed: Feed, flush: Flush) -> None:
            super().on_flush(feed, flush)
            until = time.monotonic() + 0.02
            while time.monotonic() < until:
                pass

    channel = Channel(bus, "large")
    await channel.create()
    feed = await active(feeds, channel)
    slow = Slow()
    feed.attach(slow)
    await asyncio.gather(*(channel.post() for _ in range(40)))
    await eventually(lambda: slow.seqs == list(range(2, 42)))
    assert slow.calls <= 20


async def test_too_many_channels_are_refused(bus: Bus, layout: Layout) -> None:
    """The bound on active channels is a verdict, not a leak; idle ones make room first."""
    channels = [Channel(bus, f"bound{n}") for n in range(4)]
    for channel in channels:
        await channel.create()
    async with Feeds(bus, layout, FeedLimits(feeds_max=2)) as small:
        first = await active(small, channels[0])
        first.attach(Seen())
        await active(small, channels[1])
        second = await active(small, channels[2])
        second.attach(Seen())
        assert small.get(channels[1].key) is None
        with pytest.raises(Unavailable):
            await small.activate([channels[3].key])


async def test_server_restart_under_a_feed(
    fresh_bus: Bus, fresh_settings: CommonSettings, fresh_nats_server: NatsServer
) -> None:
    """A killed and restarted server leaves no gap behind, in busy and in quiet channels (AT-70)."""
    layout = await ensure_streams(fresh_bus, fresh_settings)
    busy, quiet = Channel(fresh_bus, "busy"), Channel(fresh_bus, "quiet")
    async with (
        Bus.connect(fresh_settings, "edge") as edge_bus,
        Feeds(edge_bus, layout, FeedLimits()) as feeds,
    ):
        for channel in (busy, quiet):
            await channel.create()
        sinks = {channel.key: Seen() for channel in (busy, quiet)}
        for channel in (busy, quiet):
            (await active(feeds, channel)).attach(sinks[channel.key])
        writing = asyncio.create_task(busy.post(300))
        await eventually(lambda: busy.written > 50)
        fresh_nats_server.restart()
        await quiet.post()
        await writing
        await eventually(lambda: sinks[busy.key].seqs == list(range(2, 302)))
        await eventually(lambda: sinks[quiet.key].seqs == [2])
