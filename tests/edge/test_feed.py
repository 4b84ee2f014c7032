"""A feed against a real log: exact numbers whatever is lost, late, or was never republished."""

from __future__ import annotations

import asyncio
import time

from edge.fanout import Flush
from edge.feeds import Feeds
from shared.bus import Bus, Message
from shared.events import MemberLeft
from shared.ids import Seq
from shared.subjects import live_subject
from tests.support.feeding import ANN, Channel, Seen, active, deafen
from tests.support.storing import put
from tests.support.waiting import eventually


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
    await put(bus, channel.subject, b"\xff\x00 not json")
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
        def on_flush(self, flush: Flush) -> None:
            super().on_flush(flush)
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
