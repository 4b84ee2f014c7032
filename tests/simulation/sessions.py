"""Sessions on the edges: the real `Delivery`, `Roster` and `Replayer`, stepped by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

from edge import descriptors
from edge.archive import Archive
from edge.core.frames import CursorFrame
from edge.core.greeting import Fields, page_of
from edge.core.principal import Principal
from edge.delivery import Delivery
from edge.directory import Directory
from edge.feeds import Feeds
from edge.reads import Reads
from edge.replayer import Replayer
from edge.roster import Roster
from edge.rush import Rush
from edge.tasks import Work
from edge.websocket import EdgeProtocol
from shared.errors import Unavailable
from shared.ids import ChannelId, ChannelKey, Epoch, Seq
from shared.records import ReadMarker
from tests.simulation.archive import Archives
from tests.simulation.edges import WORKSPACE, Edge
from tests.simulation.model import Client, Heads, Place, Truth
from tests.simulation.turns import Current, until

REPLAY_EVENTS_MAX = 20


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
        infos: list[Fields] | None = None
        while infos is None:
            try:
                infos = await self.roster.attach(keys)
            except Unavailable:
                await until()
        self.delivery.send(page_of(infos, more=False))
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
