"""All feeds of an edge: activation, sweeps, heads, bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from msgspec.structs import replace

from edge.feed import Feed
from edge.feeds import FeedLimits, Feeds
from shared.bus import Bus, Message, Subscription, Value
from shared.errors import Unavailable
from shared.ids import ChannelKey, Seq
from shared.records import Checkpoint, Head, Heads
from shared.settings import CommonSettings
from shared.streams import Layout, ensure_streams
from shared.subjects import CHECKPOINTS, checkpoint_key, heads_subject, kv_subject
from tests.support.feeding import Channel, Seen, active, deafen
from tests.support.nats import NatsServer
from tests.support.storing import put
from tests.support.waiting import eventually


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
    await put(
        bus,
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


class Failing(Bus):
    """Takes so many subscriptions and no more; `broken` and `held` are about what follows them."""

    takes = 1_000
    broken = False
    held: asyncio.Event | None = None

    async def subscribe(
        self, subject: str, callback: Callable[[Message], None], *, queue: str = ""
    ) -> Subscription:
        """Raises `Unavailable` when it takes no more."""
        if self.takes == 0:
            raise Unavailable("away")
        self.takes -= 1
        return await super().subscribe(subject, callback, queue=queue)

    async def newest_values(self, stream: str, subjects: Sequence[str]) -> list[Value]:
        """What checkpoints are read with."""
        if self.held is not None:
            self.held.set()
            await asyncio.Event().wait()
        if self.broken:
            raise TypeError("a bug")
        return await super().newest_values(stream, subjects)

    @property
    def open(self) -> int:
        """How many subscriptions the connection holds."""
        return len(self._client._subs)


@pytest.fixture
async def failing(settings: CommonSettings) -> AsyncIterator[Failing]:
    """An edge's bus that fails when it is told to."""
    async with Failing.connect(settings, "edge") as bus:
        yield bus


async def _created(bus: Bus, prefix: str) -> list[ChannelKey]:
    channels = [Channel(bus, f"{prefix}{n}") for n in range(5)]
    for channel in channels:
        await channel.create()
    return [channel.key for channel in channels]


@pytest.mark.parametrize(("how", "value"), [("takes", 3), ("broken", True)])
async def test_a_failed_activation_leaves_nothing_behind(
    bus: Bus, failing: Failing, layout: Layout, monkeypatch: pytest.MonkeyPatch, how: str, value: int
) -> None:
    """Whatever ends it halfway: who waits is told, nobody listens on, and the next activation succeeds."""
    keys = await _created(bus, how)
    async with Feeds(failing, layout, FeedLimits()) as feeds:
        await eventually(lambda: not any(map(feeds.is_doubtful, keys)))
        before = failing.open
        with monkeypatch.context() as patched:
            patched.setattr(failing, how, value)
            async with asyncio.timeout(30):
                with pytest.raises(Unavailable, match="cannot read the log"):
                    await feeds.activate(keys)
        assert failing.open == before
        assert all((await feeds.activate(keys)).values())
        assert failing.open == before + len(keys)


async def test_a_feed_that_gives_up_while_it_comes_up(
    bus: Bus, feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its numbers are worth nothing: nobody is handed it, and who asks again gets one that works."""
    key = (await _created(bus, "gives-up"))[0]

    async def gives_up(feed: Feed) -> None:
        feed.reset("trimmed")

    with monkeypatch.context() as patched:
        patched.setattr(Feed, "_repair", gives_up)
        with pytest.raises(Unavailable):
            await feeds.activate([key])
    feed = (await feeds.activate([key]))[key]
    assert feed is not None
    assert not feed.closed


async def test_an_edge_that_ends_takes_activations_along(bus: Bus, failing: Failing, layout: Layout) -> None:
    """Those who wait for one are told, and what listened already is closed."""
    keys = await _created(bus, "ended")
    before = failing.open
    async with Feeds(failing, layout, FeedLimits()) as feeds:
        await eventually(lambda: not any(map(feeds.is_doubtful, keys)))
        failing.held = asyncio.Event()
        activating = asyncio.create_task(feeds.activate(keys))
        async with asyncio.timeout(30):
            await failing.held.wait()
        assert failing.open > before + len(keys)
    async with asyncio.timeout(30):
        with pytest.raises(Unavailable):
            await activating
    assert failing.open == before


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
