"""Recording as an edge does it, without an edge: publisher, feeds and archive on one bus."""

from __future__ import annotations

import time
from dataclasses import dataclass

from edge.archive import Archive
from edge.breakers import Breakers
from edge.core.breaker import Bounds
from edge.feed import Feed
from edge.feeds import Feeds
from edge.group_commit import GroupCommits
from edge.publisher import Publisher
from shared.bus import Bus
from shared.events import ChannelCreated, MessagePosted
from shared.ids import (
    ChannelId,
    ChannelKey,
    CommandId,
    Partition,
    UserId,
    WorkspaceId,
    derived_command_id,
    new_command_id,
)
from shared.subjects import log_stream

ANN, BOB = UserId("ann"), UserId("bob")
LONG_AGO_MS = 1_100_000_000_000


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


def posted(text: str, id_: CommandId | None = None) -> MessagePosted:
    """A message of Ann's."""
    return MessagePosted(id=id_ or new_command_id(now_ms()), author=ANN, text=text)


def old_id(*parts: str) -> CommandId:
    """An id from long before the duplicate window."""
    return derived_command_id(LONG_AGO_MS, *parts)


def publisher_of(bus: Bus, feeds: Feeds, archive: Archive) -> Publisher:
    """A publisher to two logs, as an edge has it."""
    logs = [log_stream(Partition(number)) for number in range(2)]
    breakers = Breakers(logs, Bounds(), in_flight_max=8_000, reachable=lambda: bus.connected)
    groups = GroupCommits(bus, grouping=True, waiting_max=2_000, spawn=feeds.spawn)
    return Publisher(bus, feeds, archive, breakers, groups, 2)


@dataclass
class Edge:
    """What an edge uses to record."""

    bus: Bus
    feeds: Feeds
    archive: Archive
    publisher: Publisher

    async def channel(self, name: str) -> Feed:
        """A fresh public channel of Ann's."""
        key = ChannelKey(WorkspaceId("w"), ChannelId(name))
        created = ChannelCreated(id=new_command_id(now_ms()), author=ANN, channel_kind="public", name=name)
        feed, recording = await self.publisher.create(key, created)
        assert (recording.seq, recording.duplicate) == (1, False)
        return feed
