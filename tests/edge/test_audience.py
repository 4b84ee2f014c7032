"""A large audience: every session has every event once, in order, whatever its socket does (P19, P20)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import AsyncIterator
from typing import Any
from unittest import mock

import orjson
import pytest

from edge.archive import Archive
from edge.audience import ROW_SEATS, WIDE_SINKS_MIN, Audience
from edge.core.ring import Entry
from edge.delivery import Delivery
from edge.fanout import Flush
from edge.feed import Feed
from edge.feeds import FeedLimits, Feeds
from edge.replayer import Replayer
from edge.tasks import Tasks
from edge.websocket import EdgeProtocol
from shared.bus import Bus
from shared.events import MemberInvited, MemberRemoved, MessagePosted, Recorded
from shared.ids import (
    ChannelId,
    ChannelKey,
    Epoch,
    Seq,
    StreamSeq,
    UserId,
    WorkspaceId,
    new_command_id,
)
from shared.streams import Layout
from tests.support.feeding import ANN, Channel, active
from tests.support.waiting import eventually

LARGE = 2 * ROW_SEATS + 100


@pytest.fixture
async def feeds(bus: Bus, layout: Layout) -> AsyncIterator[Feeds]:
    """Feeds whose rings hold all that is said here: nobody serves the archive."""
    async with Feeds(bus, layout, FeedLimits()) as feeds:
        yield feeds


class Member:
    """A session on one end of a pair of sockets, and its client on the other."""

    def __init__(self, bus: Bus, user: UserId) -> None:
        self.inside, self.client = socket.socketpair()
        self.client.setblocking(False)
        self.wire = EdgeProtocol(set(), frame_bytes_max=1000)
        self._failures: list[Exception] = []
        self._tasks = Tasks(self._failures.append)
        self.delivery = Delivery(
            self.wire,
            user,
            batch=random.random() < 0.5,
            replayer=Replayer(Archive(bus, 2, lambda _: Epoch(""))),
            replay_events_max=10_000,
            on_lost=lambda _: None,
            spawn=self._tasks.spawn,
        )
        self.wire.listener = self
        self.first = 0
        self._bytes = b""
        self._events: list[tuple[str, int]] = []

    async def enter(self, feed: Feed) -> None:
        """Attach to a channel, as a hello does."""
        await asyncio.get_running_loop().connect_accepted_socket(lambda: self.wire, self.inside)
        self.delivery.attach(feed)
        self.first = feed.head + 1

    async def leave(self) -> None:
        """End, as a lost connection does."""
        self.wire.abort()
        self.client.close()
        self.delivery.close()
        await self._tasks.end()
        assert not self._failures

    def events(self) -> list[tuple[str, int]]:
        """Channel and seq of everything that the client can read by now, of all reads so far."""
        with contextlib.suppress(BlockingIOError):
            while block := self.client.recv(1 << 20):
                self._bytes += block
        found, self._bytes = payloads(self._bytes)
        for payload in found:
            for event in payload if isinstance(payload, list) else [payload]:
                if event["type"] == "event":
                    self._events.append((event["channel"], event["seq"]))
        return self._events

    def heard(self) -> None:
        """Nothing is said here."""

    def stalled(self) -> None:
        """The delivery asks the wire."""

    def flowing(self) -> None:
        """As a connection has it."""
        self.delivery.flowing()

    def over(self) -> None:
        """Whoever ends it calls `leave`."""

    def lost(self) -> None:
        """As a connection has it."""
        self.delivery.lost()


def payloads(frames: bytes) -> tuple[list[Any], bytes]:
    """What the whole frames hold, and the rest; a server's frames are not masked."""
    found, at = [], 0
    while at + 2 <= len(frames):
        size, start = frames[at + 1], at + 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, start = int.from_bytes(frames[start : start + width], "big"), start + width
        if start + size > len(frames):
            break
        found.append(orjson.loads(frames[start : start + size]))
        at = start + size
    return found, frames[at:]


@contextlib.asynccontextmanager
async def audience(bus: Bus, feed: Feed, size: int) -> AsyncIterator[list[Member]]:
    """That many sessions in a channel."""
    members = [Member(bus, UserId(f"u{number}")) for number in range(size)]
    try:
        for member in members:
            await member.enter(feed)
        yield members
    finally:
        await asyncio.gather(*(member.leave() for member in members))


def expected(member: Member, feed: Feed) -> list[tuple[str, int]]:
    """What a member has to have been sent."""
    return [(feed.key.channel, seq) for seq in range(member.first, feed.head + 1)]


@pytest.mark.parametrize("size", [2, WIDE_SINKS_MIN, LARGE])
async def test_everybody_hears_everything(bus: Bus, feeds: Feeds, size: int) -> None:
    """Narrow, wide, or served in several turns: the same events for all."""
    channel = Channel(bus, f"all{size}")
    await channel.create()
    feed = await active(feeds, channel)
    async with audience(bus, feed, size) as members:
        assert len(feed.audience) == size
        await channel.post(20)
        await eventually(lambda: feed.head == 21)
        for member in members:
            await eventually(lambda: member.events() == expected(member, feed))  # noqa: B023
    assert not feed.audience


async def test_sockets_that_fill_and_drain_miss_nothing(bus: Bus, feeds: Feeds) -> None:
    """A third does not read for a while; newcomers come and others go in the middle of rounds."""
    channel = Channel(bus, "stalls")
    await channel.create()
    feed = await active(feeds, channel)
    async with audience(bus, feed, LARGE) as members:
        readers, sleepers = members[: LARGE // 3 * 2], members[LARGE // 3 * 2 :]
        late: list[Member] = []
        for number in range(20):
            await asyncio.gather(*(channel.post() for _ in range(10)), *(_grown(bus, feed, late, number),))
            for reader in readers:
                reader.events()
            await readers.pop(random.randrange(len(readers))).leave()
        await eventually(lambda: feed.head == 201)
        assert any(not sleeper.wire.is_flowing for sleeper in sleepers)
        for member in (*readers, *sleepers, *late):
            await eventually(lambda: member.events() == expected(member, feed))  # noqa: B023
        await asyncio.gather(*(member.leave() for member in late))


async def _grown(bus: Bus, feed: Feed, late: list[Member], number: int) -> None:
    member = Member(bus, UserId(f"late{number}"))
    await member.enter(feed)
    late.append(member)


async def test_a_reused_descriptor_is_a_stranger(bus: Bus, feeds: Feeds) -> None:
    """Whoever gets the number of a lost connection's socket hears nothing that was meant for that one."""
    loud, quiet = Channel(bus, "loud"), Channel(bus, "quiet")
    await loud.create()
    await quiet.create()
    feed, other = await active(feeds, loud), await active(feeds, quiet)
    async with audience(bus, feed, LARGE) as members:
        strangers: list[Member] = []
        numbers: set[int] = set()
        for _ in range(10):
            posting = asyncio.create_task(loud.post(3))
            for member in random.sample(members, 20):
                if not member.client._closed:  # type: ignore[attr-defined]
                    numbers.add(member.wire.fd)
                    member.client.close()
            await posting
            for _ in range(20):
                stranger = Member(bus, ANN)
                await stranger.enter(other)
                strangers.append(stranger)
        assert numbers & {stranger.wire.fd for stranger in strangers}, "no number was used again"
        await quiet.post()
        await eventually(lambda: other.head == 2 and feed.head == 31)
        for stranger in strangers:
            await eventually(lambda: stranger.events() == [("quiet", 2)])  # noqa: B023
        await asyncio.gather(*(stranger.leave() for stranger in strangers))


async def test_a_removed_member_hears_nothing_more(bus: Bus, feeds: Feeds) -> None:
    """A removal inside a flush ends the channel for its user alone (P21)."""
    channel = Channel(bus, "removal")
    await channel.create()
    await channel.write(MemberInvited(id=channel.next_id(), author=ANN, user=UserId("u1")))
    feed = await active(feeds, channel)
    async with audience(bus, feed, LARGE) as members:
        removal = MemberRemoved(id=channel.next_id(), author=ANN, user=UserId("u1"))
        await asyncio.gather(channel.post(3), channel.write(removal), channel.post(3))
        await eventually(lambda: feed.head == 9)
        entries = feed.ring.since(Seq(2)) or []
        last = next(entry.seq for entry in entries if isinstance(entry.recorded.event, MemberRemoved))
        for member in members:
            if member.delivery.user == "u1":
                await eventually(lambda: member.events() == expected(member, feed)[: last - 2])  # noqa: B023
            else:
                await eventually(lambda: member.events() == expected(member, feed))  # noqa: B023
        assert len(feed.audience) == LARGE - 1


class Slow:
    """Stands aside, and takes its time with every flush, as whoever loses the core does."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def on_flush(self, flush: Flush) -> None:
        """Longer than any rest is short."""
        began_s = time.monotonic()
        while time.monotonic() < began_s + 0.01:
            pass
        self.heard += [entry.seq for entry in flush.entries]

    def on_reset(self, reason: str) -> None:
        """It is not reset here."""
        raise AssertionError(reason)


@pytest.mark.parametrize("size", [WIDE_SINKS_MIN - 1, WIDE_SINKS_MIN])
async def test_only_many_make_a_channel_rest(size: int) -> None:
    """Few are told in the same turn of the loop, however long the flush before has taken."""
    audience = Audience()
    slow, *others = [Slow(), *(mock.create_autospec(Slow, instance=True) for _ in range(size - 1))]
    for sink in (slow, *others):
        audience.attach(sink)
    for seq in (1, 2):
        audience.tell(entry_of(seq))
        for _ in range(3):
            await asyncio.sleep(0)
    assert slow.heard == ([1, 2] if size < WIDE_SINKS_MIN else [1])
    await eventually(lambda: slow.heard == [1, 2])


def entry_of(seq: int) -> Entry:
    """Somebody says something."""
    posted = MessagePosted(id=new_command_id(0), author=ANN, text="x")
    key = ChannelKey(WorkspaceId("w"), ChannelId("c"))
    return Entry(Recorded(key, Seq(seq), StreamSeq(seq), 0, posted), b"{}", seq)
