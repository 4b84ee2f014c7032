"""`python -m sequencer` as a process: killed at any moment, stopped in order, misconfigured."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator

import pytest

from shared import events as e
from shared.bus import Bus
from shared.ids import Partition
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from tests.support.logs import USERS, channels_of, command
from tests.support.sequencing import PARTITIONS, all_saved, position, record
from tests.support.waiting import eventually

KEYS = [key for p in range(PARTITIONS) for key in channels_of(Partition(p), PARTITIONS, 4, "proc")]


@contextlib.asynccontextmanager
async def process(settings: CommonSettings, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    own = {
        "PARLEY_NATS_URL": settings.nats_url,
        "PARLEY_PARTITIONS": str(settings.partitions),
        "PARLEY_CHECKPOINT_INTERVAL_S": "0.05",
        **env,
    }
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sequencer", env=os.environ | own, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.kill()
        await started.wait()


async def say(bus: Bus, first: int, count: int) -> None:
    for number in range(first, first + count):
        key = KEYS[number % len(KEYS)]
        await record(bus, key, e.MessagePosted(id=command(number), author=USERS[0], text=str(number)))


@pytest.mark.system
async def test_killed_at_any_moment(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """kill -9 in the middle of folding and saving, several times: the successor's numbers are the log's."""
    seed = random.randrange(10_000)
    print("seed", seed)
    rng = random.Random(seed)
    bus = fresh_bus
    await ensure_streams(bus, fresh_settings)
    for number, key in enumerate(KEYS):
        created = e.ChannelCreated(id=command(number), author=USERS[0], channel_kind="public", name="n")
        await record(bus, key, created)
    for round_ in range(4):
        async with process(fresh_settings) as running:
            await eventually(lambda: position(bus, 0))
            await say(bus, 1000 * (round_ + 1), rng.randrange(5, 120))
            running.kill()
    async with process(fresh_settings) as running:
        await eventually(lambda: all_saved(bus), every_s=0.1)
        running.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.wait(), 60) == 0


@pytest.mark.system
async def test_another_number_of_partitions_is_refused(bus: Bus, settings: CommonSettings) -> None:
    """P is fixed at first start: a sequencer that is told otherwise exits with the code for it."""
    await ensure_streams(bus, settings)
    async with process(settings, PARLEY_PARTITIONS="1") as running:
        assert await asyncio.wait_for(running.wait(), 60) == 2
