"""The follower: every message, in order, once, whatever happens to its server."""

from __future__ import annotations

import asyncio

import pytest

from shared.bus import Bus
from shared.errors import LogRegressed
from shared.ids import StreamSeq
from shared.puller import Follower
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from tests.support.nats import NatsServer

LOG = "LOG_0"


@pytest.fixture
async def log(fresh_bus: Bus, fresh_settings: CommonSettings) -> Bus:
    """A bus whose streams exist."""
    await ensure_streams(fresh_bus, fresh_settings)
    return fresh_bus


async def fill(bus: Bus, first: int, last: int) -> None:
    """Store messages whose body is their number."""
    numbers = range(first, last + 1)
    await asyncio.gather(*(bus.commit("channel.0.w.c", str(n).encode(), msg_id=f"m/{n}") for n in numbers))


async def collect(follower: Follower, upto: int) -> list[int]:
    """Positions of everything up to `upto`."""
    seen: list[int] = []
    async for batch in follower:
        assert batch
        seen += [stored.stream_seq for stored in batch]
        if seen[-1] >= upto:
            return seen
    raise AssertionError("a follower never ends")


async def test_follows_from_a_position(log: Bus) -> None:
    """From any start on, everything arrives consecutively, in batches no larger than asked for."""
    await fill(log, 1, 1500)
    async with Follower(log, LOG, StreamSeq(101), batch_max=200) as follower:
        assert await collect(follower, 1500) == list(range(101, 1501))
        await fill(log, 1501, 1510)
        assert await collect(follower, 1510) == list(range(1501, 1511))
        assert follower.position == 1510


async def test_positions_equal_direct_get(log: Bus) -> None:
    """Time and sequence are the same by whatever way a message is read."""
    await fill(log, 1, 1)
    stored = await log.stored(LOG, StreamSeq(1))
    async with Follower(log, LOG, StreamSeq(1)) as follower:
        followed = (await anext(follower))[0]
    assert stored is not None
    assert (followed.at_us, followed.stream_seq, followed.subject) == (
        stored.at_us,
        stored.stream_seq,
        stored.subject,
    )


@pytest.mark.parametrize("kills", [1, 3])
async def test_survives_killed_servers(log: Bus, fresh_nats_server: NatsServer, kills: int) -> None:
    """A server that dies under the follower costs time, not messages (AT-70)."""
    await fill(log, 1, 300)
    async with Follower(log, LOG, StreamSeq(1), batch_max=50) as follower:
        seen = await collect(follower, 50)
        for round_ in range(1, kills + 1):
            fresh_nats_server.restart()
            await fill(log, 300 * round_ + 1, 300 * round_ + 300)
            seen += await collect(follower, 300 * round_ + 300)
    assert seen == list(range(1, 300 * (kills + 1) + 1))


async def test_a_hurried_follower_does_not_linger(log: Bus) -> None:
    """Whoever waits for a position has it at once; without that, messages gather meanwhile."""
    await fill(log, 1, 1)
    async with Follower(log, LOG, StreamSeq(1), linger_s=3600.0) as follower:
        assert await collect(follower, 1) == [1]
        following = asyncio.create_task(collect(follower, 41))
        await fill(log, 2, 41)
        follower.hurry()
        async with asyncio.timeout(30):
            assert await following == list(range(2, 42))


async def test_deleted_consumer_is_replaced(log: Bus) -> None:
    """Losing the consumer on the server is noticed and healed without a hole."""
    await fill(log, 1, 100)
    async with Follower(log, LOG, StreamSeq(1), batch_max=20) as follower:
        seen = await collect(follower, 60)
        await log.api(f"CONSUMER.DELETE.{LOG}.{follower._consumer}", {})
        await fill(log, 101, 200)
        seen += await collect(follower, 200)
    assert seen == list(range(1, 201))


async def test_start_behind_the_end_is_a_regressed_log(log: Bus) -> None:
    """A log that ends before the position that we had has lost something: say so."""
    await fill(log, 1, 5)
    async with Follower(log, LOG, StreamSeq(9)) as follower:
        with pytest.raises(LogRegressed):
            await anext(follower)


async def test_start_before_the_beginning_is_refused(log: Bus) -> None:
    """A follower never begins behind a trimmed front: its numbers would be wrong."""
    await fill(log, 1, 5)
    await log.api(f"STREAM.PURGE.{LOG}", {"seq": 4})
    async with Follower(log, LOG, StreamSeq(1)) as follower:
        with pytest.raises(LogRegressed):
            await anext(follower)


async def test_a_log_that_was_replaced_and_has_grown_again_is_noticed(log: Bus) -> None:
    """Where the follower stood is another message now: nothing that comes after it is given out."""
    await fill(log, 1, 5)
    async with Follower(log, LOG, StreamSeq(1)) as follower:
        assert await collect(follower, 5) == [1, 2, 3, 4, 5]
        await log.api(f"STREAM.PURGE.{LOG}", {})
        info = await log.api(f"STREAM.INFO.{LOG}", {})
        await log.api(f"STREAM.DELETE.{LOG}", {})
        config = info["config"]
        assert isinstance(config, dict)
        await log.api(f"STREAM.CREATE.{LOG}", config)
        await fill(log, 1, 9)
        follower._break()
        with pytest.raises(LogRegressed, match="another message"):
            await anext(follower)
