"""Edges and their sessions: the real `Feed`, `Delivery`, `Roster` and `Replayer`, stepped by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from typing import cast

from edge import descriptors
from edge.archive import Archive
from edge.breakers import Breakers
from edge.core.breaker import Bounds
from edge.core.frames import CursorFrame
from edge.core.principal import Principal
from edge.core.ring import Entry, Ring
from edge.core.server_frames import ChannelInfo, Channels
from edge.delivery import Delivery
from edge.directory import Directory
from edge.feed import Feed
from edge.feeds import Feeds
from edge.group_commit import GroupCommits
from edge.publisher import Publisher
from edge.reads import Reads
from edge.replayer import Replayer
from edge.roster import Roster
from edge.rush import Rush
from edge.tasks import Work
from edge.websocket import EdgeProtocol
from shared.bus import BusError
from shared.errors import OutcomeUnknown, Unavailable
from shared.ids import ChannelId, ChannelKey, Epoch, Partition, Seq, StreamSeq, WorkspaceId
from shared.records import Checkpoint, ReadMarker
from shared.streams import bucket_stream
from shared.subjects import CHECKPOINTS, checkpoint_key, kv_subject, log_stream
from tests.simulation.archive import Archives
from tests.simulation.bus import Bus
from tests.simulation.model import Client, Heads, Place, Truth, promise
from tests.simulation.network import Network
from tests.simulation.streams import PARTITION
from tests.simulation.turns import Current, until

WORKSPACE = WorkspaceId("w")
RING_ENTRIES = 4
REPLAY_EVENTS_MAX = 20


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


class Wire:
    """A socket that is full as soon as its client does not read."""

    def __init__(self, client: Client, truths: dict[tuple[Epoch, ChannelId], Truth], heads: Heads) -> None:
        self._client = client
        self._truths = truths
        self._heads = heads
        self.is_flowing = True
        self.is_read = True
        self._unread = 0

    def write(self, frames: bytes) -> None:
        """The client judges each frame as it is sent; it keeps what it has read."""
        for payload in payloads(frames):
            self._client.receive(payload, self._truths, self._heads)
            self._unread += 1
        if self.is_read:
            self.read()
        else:
            self.is_flowing = False

    fd = descriptors.NONE

    def read(self) -> None:
        """The client takes everything."""
        self._unread = 0
        self._client.kept |= {
            channel: Place(place.epoch, place.seq) for channel, place in self._client.places.items()
        }
        self.is_flowing = True

    @property
    def is_laden(self) -> bool:
        """Whether anything waits: a replay then writes page by page."""
        return not self.is_flowing or self._unread > 0

    def flush(self) -> None:
        """It is written already."""

    async def drained(self) -> None:
        await until(lambda: self.is_flowing)


def payloads(frames: bytes) -> list[bytes]:
    """The texts in a row of WebSocket frames, as a server sends them: whole, unmasked."""
    found, at = [], 0
    while at < len(frames):
        size, at = frames[at + 1], at + 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(frames[at : at + width], "big"), at + width
        found.append(frames[at : at + size])
        at += size
    return found


class _Reads:
    async def markers(self, *_: object) -> dict[ChannelId, ReadMarker]:
        return {}


class EdgeHeads(Heads):
    """How far an edge's feeds have come."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    def of(self, channel: ChannelId) -> int:
        feed = self._edge.feeds.get(ChannelKey(WORKSPACE, channel))
        return feed.head if feed else 0


class Session:
    """A client's connection to an edge."""

    def __init__(
        self, client: Client, edge: Edge, archives: Archives, truths: dict[tuple[Epoch, ChannelId], Truth]
    ) -> None:
        self.client = client
        self.edge = edge
        self.is_open = False
        self.wire = Wire(client, truths, EdgeHeads(edge))
        self.delivery = Delivery(
            cast(EdgeProtocol, self.wire),
            client.user,
            batch=True,
            replayer=Replayer(cast(Archive, archives)),
            replay_events_max=REPLAY_EVENTS_MAX,
            on_lost=self._lost,
            spawn=self._spawn,
        )
        self.roster = Roster(
            Principal(client.user, WORKSPACE),
            self.delivery,
            directory=cast(Directory, None),
            feeds=cast(Feeds, edge),
            reads=cast(Reads, _Reads()),
            rush=cast(Rush, None),
            page=10,
            channels_max=100,
            spawn=self._spawn,
        )

    async def run(self, keys: list[ChannelKey], cursors: dict[ChannelId, Place]) -> None:
        """From the hello on: the list, the cursors, then whatever comes."""
        for channel, place in cursors.items():
            self.client.ask(channel, place)
            self.roster.resume(channel, CursorFrame(epoch=place.epoch, seq=Seq(place.seq)))
        infos: list[ChannelInfo] | None = None
        while infos is None:
            try:
                infos = await self.roster.attach(keys)
            except Unavailable:
                await until()
        self.delivery.send(Channels(channels=infos, more=False))
        self.roster.resume_listed()
        self.is_open = True
        self._spawn(self.roster.finish_list(_nothing_more()))

    def _spawn(self, work: Work) -> None:
        Current.works.add(work, self)

    def _lost(self, key: ChannelKey) -> None:
        self.roster.lost(key)

    def resume(self, channel: ChannelId, seq: int) -> None:
        """Ask again, for what follows an older event."""
        place = self.client.places[channel]
        self.client.ask(channel, Place(place.epoch, seq))
        self.roster.resume(channel, CursorFrame(epoch=place.epoch, seq=Seq(seq)))

    def close(self) -> None:
        """The connection is gone."""
        Current.works.end(self)
        self.roster.close()
        self.delivery.close()
        self.client.lost_connection()


async def _nothing_more() -> AsyncIterator[tuple[list[ChannelKey], bool]]:
    nothing: tuple[tuple[list[ChannelKey], bool], ...] = ()
    for page in nothing:
        yield page
