"""All feeds of this edge: activation in batches, healing by heads and sweeps, closing what nobody uses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from pydantic import ValidationError

from edge import metrics
from edge.archive import Archive
from edge.checkpoints import Checkpoints
from edge.core.ring import Budget, Ring
from edge.epochs import Epochs
from edge.feed import Feed
from shared.bus import Bus, BusError, Message, Subscription
from shared.errors import Unavailable
from shared.ids import ChannelKey, Partition, Seq, StreamSeq
from shared.records import Checkpoint, Heads
from shared.streams import Layout
from shared.subjects import (
    LEADER_ELECTED,
    channel_subject,
    heads_subject,
    log_stream,
    partition_of,
)

SWEEP_INTERVAL_S = 45.0
SWEEP_AFTER_ELECTION_S = (0.0, 1.0, 4.0)
ACTIVATIONS_MAX = 32
"""Tails that are read at once."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """Bounds: active channels, idle seconds before one is closed, each ring's size, and all rings' bytes."""

    feeds_max: int = 20_000
    linger_s: float = 60.0
    ring_entries_max: int = 1_000
    ring_bytes_max: int = 1_000_000
    rings_bytes_max: int = 256_000_000


class Feeds:
    """Use as an async context; `get` and `activate` are the doors."""

    def __init__(self, bus: Bus, layout: Layout, limits: FeedLimits) -> None:
        self._bus = bus
        self._layout = layout
        self.epochs = Epochs(bus, layout, spawn=self.spawn, on_loss=self._lose, on_proof=self._proven)
        self._archive = Archive(bus, layout.partitions, self.epochs.of)
        self._limits = limits
        self._ring_budget = Budget(limits.rings_bytes_max)
        self._feeds: dict[ChannelKey, Feed] = {}
        self._starting: dict[ChannelKey, asyncio.Future[Feed | None]] = {}
        self._idle_since: dict[ChannelKey, float] = {}
        self._swept: dict[str, StreamSeq] = {}
        """Where each log ended at its last sweep."""
        self._tasks: set[asyncio.Task[object]] = set()
        self._subscriptions: list[Subscription] = []
        self._reading = asyncio.Semaphore(ACTIVATIONS_MAX)
        self._checkpoints = Checkpoints(bus, layout.partitions, self.epochs, spawn=self.spawn)

    async def __aenter__(self) -> Feeds:
        self._subscriptions = [
            await self._bus.subscribe(heads_subject("*"), self._on_heads),
            await self._bus.subscribe(LEADER_ELECTED, self._on_election),
        ]
        self._bus.on_reconnect(self.epochs.doubt_all)
        self.epochs.doubt_all()
        self.spawn(self._keep())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for subscription in self._subscriptions:
            await subscription.unsubscribe()
        for feed in self._feeds.values():
            await feed.close()

    def spawn(self, work: Coroutine[object, object, object]) -> asyncio.Task[object]:
        """Run something that ends with the feeds."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def get(self, key: ChannelKey) -> Feed | None:
        """The feed of an active channel."""
        feed = self._feeds.get(key)
        return None if feed is None or feed.closed else feed

    async def activate(self, keys: Sequence[ChannelKey]) -> dict[ChannelKey, Feed | None]:
        """Bring channels up, many at once; None for those that do not exist.

        Raises `Unavailable` if a log cannot be read or is not proven to be the one that was counted, or if
        the edge holds `feeds_max` channels in use.
        """
        feeds = {key: self.get(key) for key in keys}
        missing = [key for key, feed in feeds.items() if feed is None]
        beginning = [key for key in missing if key not in self._starting]
        if beginning:
            self._make_room(len(beginning))
            loop = asyncio.get_running_loop()
            for key in beginning:
                self._starting[key] = loop.create_future()
            # A task of its own: a caller who leaves must not take the others' activation along.
            self.spawn(self._start(beginning))
        for key in missing:
            starting = self._starting.get(key)
            feeds[key] = await asyncio.shield(starting) if starting is not None else self.get(key)
        return feeds

    def is_doubtful(self, key: ChannelKey) -> bool:
        """Whether the channel is not active, and cannot be brought up before its log is proven."""
        return self.get(key) is None and not self.epochs.is_proven(self._partition(key))

    async def patience(self, keys: Iterable[ChannelKey]) -> None:
        """Returns when none of them is doubtful, or after a moment."""
        await self.epochs.settled({self._partition(key) for key in keys if self.is_doubtful(key)})

    async def _start(self, keys: list[ChannelKey]) -> None:
        failure: Unavailable | BusError = Unavailable("the activation was given up")
        ours = {key: self._starting[key] for key in keys}
        try:
            await self.patience(keys)
            doubtful = {key for key in keys if self.is_doubtful(key)}
            for key in doubtful:
                self._settle(key, Unavailable("it is not known yet which log this is"))
            keys = [key for key in keys if key not in doubtful]
            feeds = [self._new_feed(key) for key in keys]
            async with contextlib.AsyncExitStack() as listening:
                for feed in feeds:
                    listening.push_async_callback(feed.close)
                    await feed.subscribe()
                checkpoints = await self._checkpoints.of(keys)
                listening.pop_all()  # each is closed by its own catching up from here on
            await asyncio.gather(*(self._catch_up(feed, checkpoints.get(feed.key)) for feed in feeds))
        except (Unavailable, BusError) as error:
            failure = error
        finally:
            for key, starting in ours.items():
                if self._starting.get(key) is starting:  # else it is settled, and may have been begun anew
                    self._settle(key, failure)

    async def _catch_up(self, feed: Feed, checkpoint: Checkpoint | None) -> None:
        """The feed is among ours at the end, or closed."""
        try:
            async with self._reading:
                await feed.catch_up(checkpoint)
            if feed.closed or self.is_doubtful(feed.key) or feed.epoch != self.epochs.of(feed.partition):
                raise Unavailable("the log is looked at just now", retry_after_ms=1000)
            if feed.exists:
                self._feeds[feed.key] = feed
                metrics.FEEDS.set(len(self._feeds))
            self._settle(feed.key, feed if feed.exists else None)
        except (Unavailable, BusError) as error:
            self._settle(feed.key, error)
        finally:
            if self._feeds.get(feed.key) is not feed:
                await feed.close()

    def _settle(self, key: ChannelKey, outcome: Feed | Unavailable | BusError | None) -> None:
        future = self._starting.pop(key, None)
        if future is None or future.done():
            return
        if isinstance(outcome, Exception):
            future.set_exception(Unavailable(f"cannot read the log: {outcome}", retry_after_ms=1000))
            future.exception()  # nobody may be waiting any more
        else:
            future.set_result(outcome)

    def _new_feed(self, key: ChannelKey) -> Feed:
        partition = self._partition(key)
        return Feed(
            self._bus,
            self._archive,
            key,
            partition,
            self.epochs.of(partition),
            new_ring=self._new_ring,
            spawn=self.spawn,
        )

    def _partition(self, key: ChannelKey) -> Partition:
        return partition_of(key, self._layout.partitions)

    def _new_ring(self, head: Seq) -> Ring:
        limits = self._limits
        return Ring(
            head,
            entries_max=limits.ring_entries_max,
            bytes_max=limits.ring_bytes_max,
            budget=self._ring_budget,
        )

    def _make_room(self, wanted: int) -> None:
        if len(self._feeds) + len(self._starting) + wanted <= self._limits.feeds_max:
            return
        self._close_idle(older_than_s=0.0)
        if len(self._feeds) + len(self._starting) + wanted > self._limits.feeds_max:
            raise Unavailable("this edge holds too many channels", retry_after_ms=5000, limit="feeds_max")

    def _close_idle(self, older_than_s: float) -> None:
        now = asyncio.get_running_loop().time()
        for key, feed in tuple(self._feeds.items()):
            if feed.audience and not feed.closed:
                self._idle_since.pop(key, None)
            elif feed.closed or now - self._idle_since.setdefault(key, now) >= older_than_s:
                del self._feeds[key]
                self._idle_since.pop(key, None)
                self.spawn(feed.close())
        metrics.FEEDS.set(len(self._feeds))

    async def _keep(self) -> None:
        """Close what is idle, and look after the heads from time to time."""
        loop = asyncio.get_running_loop()
        swept_at = loop.time()
        while True:
            await asyncio.sleep(min(5.0, self._limits.linger_s))
            self._close_idle(self._limits.linger_s)
            if loop.time() - swept_at >= SWEEP_INTERVAL_S:
                swept_at = loop.time()
                self.epochs.check()
                await self._sweep("interval", 0.0)

    def sweep_soon(self, cause: str) -> None:
        """Compare all feeds with the heads of the log now."""
        self.spawn(self._sweep(cause, 0.0))

    def _proven(self, partition: Partition) -> None:
        self.spawn(self._sweep("reconnect", 0.0, partition))

    def _lose(self, partition: Partition) -> None:
        for feed in tuple(self._feeds.values()):
            if feed.partition == partition and not feed.closed:
                feed.reset("epoch")

    async def _sweep(self, cause: str, delay_s: float, only: Partition | None = None) -> None:
        """Doubtful logs are left out: a proof brings a sweep of its own."""
        await asyncio.sleep(delay_s)
        metrics.FEED_SWEEPS.labels(cause).inc()
        by_stream: dict[str, dict[str, Feed]] = {}
        for feed in tuple(self._feeds.values()):
            if only not in {None, feed.partition} or not self.epochs.is_proven(feed.partition):
                continue
            subjects = by_stream.setdefault(log_stream(feed.partition), {})
            subjects[channel_subject(feed.partition, feed.key)] = feed
        for stream, feeds in by_stream.items():
            try:
                await self._sweep_log(stream, feeds)
            except (Unavailable, BusError) as error:
                _log.warning("feeds.sweep_failed", stream=stream, error=error.message)

    async def _sweep_log(self, stream: str, feeds: Mapping[str, Feed]) -> None:
        """One log's feeds, by subject. Where it holds nothing, all was trimmed: checkpoints know these heads.

        They are asked only if something may be gone that the sweep before this one has not seen.
        """
        first, last = await self._bus.ends(stream)
        newest = await self._bus.direct_last(stream, list(feeds))
        for subject, stored in newest.items():
            feeds[subject].want(stored.stream_seq)
        if first > self._swept.get(stream, 0) + 1:
            gone = {feed.key: feed for subject, feed in feeds.items() if subject not in newest}
            for key, checkpoint in (await self._checkpoints.of(gone)).items():
                gone[key].want(checkpoint.stream_seq)
        self._swept[stream] = last

    def _on_heads(self, message: Message) -> None:
        try:
            told = Heads.model_validate_json(message.body)
        except ValidationError:
            _log.warning("feeds.heads_unreadable")
            return
        self.epochs.heard(Partition(int(message.subject.rpartition(".")[2])), told.epoch)
        for head in told.heads:
            feed = self._feeds.get(ChannelKey(head.workspace, head.channel))
            if feed is not None:
                feed.want(head.stream_seq)

    def _on_election(self, _: Message) -> None:
        self.epochs.check()
        for delay_s in SWEEP_AFTER_ELECTION_S:
            self.spawn(self._sweep("election", delay_s))

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("feeds.task_failed", error=repr(error))
