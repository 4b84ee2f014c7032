"""Edges: the real `Feed`, `Publisher` and what is behind it, stepped by hand."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import cast

from edge.archive import Archive
from edge.breakers import Breakers
from edge.core.breaker import Bounds
from edge.core.ring import Entry, Ring
from edge.feed import Feed
from edge.feeds import Feeds
from edge.group_commit import GroupCommits
from edge.publisher import Publisher
from shared.bus import BusError
from shared.errors import OutcomeUnknown, Unavailable
from shared.ids import ChannelKey, Epoch, Partition, StreamSeq, WorkspaceId
from shared.records import Checkpoint
from shared.subjects import CHECKPOINTS, bucket_stream, checkpoint_key, kv_subject, log_stream
from tests.simulation.archive import Archives
from tests.simulation.bus import Bus
from tests.simulation.model import promise
from tests.simulation.network import Network
from tests.simulation.streams import PARTITION
from tests.simulation.turns import Current, until

WORKSPACE = WorkspaceId("w")
RING_ENTRIES = 4


class SimulatedFeed(Feed):
    """Waits for a position without timers."""

    async def settled(self, stream_seq: StreamSeq, _: float) -> Entry | None:
        self.want(stream_seq)
        await until(lambda: self.stream_seq >= stream_seq or self.closed)
        if self.closed:
            raise OutcomeUnknown("the feed was given up")
        return self.ring.find(stream_seq)


class _Epochs:
    """One log, one epoch, and no doubt about it."""

    def __init__(self, epoch: Callable[[], Epoch]) -> None:
        self._epoch = epoch

    def of(self, _: Partition) -> Epoch:
        return self._epoch()

    def is_proven(self, _: Partition) -> bool:
        return True

    def doubt(self, _: Partition) -> None:
        """The log holds something else than it should: here it never does."""
        promise(False, "an edge doubts its log")


class Edge:
    """The feeds of one edge, as `Feeds` keeps them, and its publisher."""

    def __init__(self, network: Network, epoch: Callable[[], Epoch], archives: Archives) -> None:
        self.bus = Bus(network)
        self._archives = archives
        self.epochs = _Epochs(epoch)
        self.feeds: dict[ChannelKey, Feed] = {}
        self.starting: dict[ChannelKey, Feed] = {}
        self.publisher = Publisher(
            self.bus,
            cast(Feeds, self),
            cast(Archive, archives),
            Breakers(
                [log_stream(PARTITION)],
                Bounds(),
                in_flight_max=1_000,
                reachable=lambda: self.bus.connected,
                clock=lambda: Current.now_s,
            ),
            GroupCommits(self.bus, grouping=True, waiting_max=1_000, spawn=self.spawn),
            1,
        )

    def get(self, key: ChannelKey) -> Feed | None:
        feed = self.feeds.get(key)
        return None if feed is None or feed.closed else feed

    async def activate(self, keys: Sequence[ChannelKey]) -> dict[ChannelKey, Feed | None]:
        """Bring channels up, each once for all who ask."""
        for key in keys:
            if self.get(key) is None:
                if key not in self.starting:
                    self._start(key)
                feed = self.starting[key]
                await until(lambda key=key, feed=feed: self.starting.get(key) is not feed)  # type: ignore[misc]
                if self.get(key) is None:
                    raise Unavailable("the log cannot be read")
        return {key: self.get(key) for key in keys}

    def is_doubtful(self, _: ChannelKey) -> bool:
        return False

    async def patience(self, _: Iterable[ChannelKey]) -> None:
        return

    def _start(self, key: ChannelKey) -> None:
        feed = SimulatedFeed(
            self.bus,
            cast(Archive, self._archives),
            key,
            PARTITION,
            self.epochs.of(PARTITION),
            new_ring=lambda head: Ring(head, entries_max=RING_ENTRIES, bytes_max=100_000),
            spawn=self.spawn,
        )
        self.starting[key] = feed
        Current.works.add(self._bring_up(feed), self)

    def spawn(self, work: Coroutine[object, object, object]) -> None:
        """As in `Feeds`: what a task of its own raises is logged, and that is all."""
        Current.works.add(work, self, may_fail=True)

    async def _bring_up(self, feed: Feed) -> None:
        await feed.subscribe()
        try:
            await feed.catch_up(await self._checkpoint(feed.key))
            if feed.exists:
                self.feeds[feed.key] = feed
            else:
                await feed.close()
        except (Unavailable, BusError):
            await feed.close()
        finally:
            del self.starting[feed.key]

    async def _checkpoint(self, key: ChannelKey) -> Checkpoint | None:
        """As `Feeds` reads it: from any replica, and none if there is no bucket."""
        subject = kv_subject(CHECKPOINTS, checkpoint_key(PARTITION, key))
        try:
            stored = await self.bus.last(bucket_stream(CHECKPOINTS), subject)
        except (Unavailable, BusError):
            return None
        return Checkpoint.model_validate_json(stored.body) if stored else None
