"""Edges and their sessions: the real `Feed`, `Delivery`, `Roster` and `Replayer`, stepped by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import cast

from edge import descriptors
from edge.archive import Archive
from edge.core.frames import CursorFrame
from edge.core.principal import Principal
from edge.core.ring import Entry, Ring
from edge.core.server_frames import ChannelInfo, Channels
from edge.delivery import Delivery
from edge.directory import Directory
from edge.feed import Feed
from edge.feeds import Feeds
from edge.reads import Reads
from edge.replayer import Replayer
from edge.roster import Roster
from edge.rush import Rush
from edge.websocket import EdgeProtocol
from shared.bus import Bus as RealBus
from shared.bus import BusError
from shared.errors import OutcomeUnknown, Unavailable
from shared.ids import ChannelId, ChannelKey, Epoch, Seq, StreamSeq, WorkspaceId
from shared.records import Checkpoint, ReadMarker
from tests.simulation.archive import Archives
from tests.simulation.bus import PARTITION, Bus
from tests.simulation.model import Client, Heads, Place, Truth
from tests.simulation.turns import Current, Ready, until

WORKSPACE = WorkspaceId("w")
RING_ENTRIES = 4
REPLAY_EVENTS_MAX = 20
BUFFERED_MAX = 3


class SimulatedFeed(Feed):
    """Waits for a position without timers."""

    async def settled(self, stream_seq: StreamSeq, _: float) -> Entry | None:
        self.want(stream_seq)
        await until(lambda: self.stream_seq >= stream_seq or self.closed)
        if self.closed:
            raise OutcomeUnknown("the feed was given up")
        return self.ring.find(stream_seq)


class Edge:
    """The feeds of one edge, as `Feeds` keeps them, and its sessions."""

    def __init__(
        self,
        bus: Bus,
        archives: Archives,
        epoch: Callable[[], Epoch],
        checkpoints: Callable[[], dict[ChannelKey, Checkpoint]],
    ) -> None:
        self._bus = bus
        self._archives = archives
        self._epoch = epoch
        self._checkpoints = checkpoints
        self.feeds: dict[ChannelKey, Feed] = {}
        self.starting: dict[ChannelKey, Feed] = {}

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

    def _start(self, key: ChannelKey) -> None:
        feed = SimulatedFeed(
            cast(RealBus, self._bus),
            cast(Archive, self._archives),
            key,
            PARTITION,
            self._epoch(),
            new_ring=lambda head: Ring(head, entries_max=RING_ENTRIES, bytes_max=100_000),
            spawn=self._spawn,
        )
        self.starting[key] = feed
        Current.works.add(self._bring_up(feed))

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        # As in `Feeds`: what a task of its own raises is logged, and that is all.
        Current.works.add(cast(Coroutine[Ready, None, None], work), self, may_fail=True)

    async def _bring_up(self, feed: Feed) -> None:
        await feed.subscribe()
        await until()
        try:
            await feed.catch_up(self._checkpoints().get(feed.key))
            if feed.exists:
                self.feeds[feed.key] = feed
            else:
                await feed.close()
        except (Unavailable, BusError):
            await feed.close()
        finally:
            del self.starting[feed.key]


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
        elif self._unread > BUFFERED_MAX:
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
        works = Current.works
        works.add(cast(Coroutine[Ready, None, None], self.delivery.run()), self)
        works.add(cast(Coroutine[Ready, None, None], self.roster.run(_nothing_more())), self)

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
        self.delivery.close()
        self.client.lost_connection()


async def _nothing_more() -> AsyncIterator[tuple[list[ChannelKey], bool]]:
    nothing: tuple[tuple[list[ChannelKey], bool], ...] = ()
    for page in nothing:
        yield page
