"""The prototype of grouped commits: it stores what single commits would."""

from __future__ import annotations

import asyncio

from shared.bus import Bus
from shared.ids import StreamSeq
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from tests.bench.grouped import GroupedCommits

CHANNELS, EACH = 5, 40


async def test_many_senders_share_batches(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """Every message of every channel is stored once and in order, with few answers for many commits."""
    await ensure_streams(fresh_bus, fresh_settings)
    grouped = GroupedCommits(fresh_bus)
    await asyncio.gather(
        *(
            grouped.commit(f"channel.0.w.c{channel}", b"%d" % number, msg_id=f"{channel}/{number}")
            for number in range(EACH)
            for channel in range(CHANNELS)
        )
    )
    assert grouped.commits == CHANNELS * EACH
    assert grouped.answers < grouped.commits / 10
    for channel in range(CHANNELS):
        assert await _bodies(fresh_bus, f"channel.0.w.c{channel}") == [b"%d" % n for n in range(EACH)]


async def test_a_duplicate_does_not_harm_the_others(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """JetStream refuses a batch with an id that it knows; each message is stored all the same, once."""
    await ensure_streams(fresh_bus, fresh_settings)
    await fresh_bus.commit("channel.0.w.c", b"known", msg_id="known")
    grouped = GroupedCommits(fresh_bus)
    ids = ["a", "b", "known", "c", "c"]
    await asyncio.gather(*(grouped.commit("channel.0.w.c", i.encode(), msg_id=i) for i in ids))
    assert await _bodies(fresh_bus, "channel.0.w.c") == [b"known", b"a", b"b", b"c"]


async def _bodies(bus: Bus, subject: str) -> list[bytes]:
    found = await bus.direct_batch("LOG_0", subject, start=StreamSeq(1), batch=100)
    return [message.body for message in found]
