"""`python -m sequencer`: killed at any moment, begun again, stopped in order, misconfigured."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from sequencer.__main__ import _main
from sequencer.app import Sequencer
from shared import events as e
from shared.bus import Bus
from shared.errors import WrongLastSequence
from shared.ids import Epoch, Partition, StreamSeq
from shared.log_epochs import begin_epoch, judge
from shared.records import Position
from shared.service import EXIT_OK, Service
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import CHECKPOINTS, kv_subject, position_key
from tests.support.logs import USERS, channels_of, command
from tests.support.sequencing import PARTITIONS, all_saved, position, quick, record
from tests.support.storing import put
from tests.support.waiting import eventually

P0 = Partition(0)
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


@pytest.fixture
def collector() -> Iterator[None]:
    """A service settles the memory of its process: of this one it is unsettled again."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@contextlib.asynccontextmanager
async def served(settings: CommonSettings) -> AsyncIterator[Service]:
    """The service in this process; it is told to stop at the end, and must do so in order."""
    own = quick(settings).model_copy(update={"stop_deadline_s": 60.0})
    service = Service("sequencer", own)
    supervised = asyncio.create_task(service.supervise(lambda it: _main(it, own)))
    try:
        yield service
        service.stop()
        assert await supervised == EXIT_OK
    finally:
        supervised.cancel()
        await asyncio.wait({supervised})


@pytest.mark.usefixtures("collector")
async def test_one_sequencer_is_kept_however_often_it_begins_again(
    fresh_bus: Bus, fresh_settings: CommonSettings
) -> None:
    """Each holds all channels: none stays behind after a new epoch, and the newest is the one that stops."""
    bus = fresh_bus
    await ensure_streams(bus, fresh_settings)
    await say(bus, 0, len(KEYS))
    async with served(fresh_settings):
        for _ in range(3):
            await eventually(lambda: all_saved(bus), every_s=0.1)
            await begun_again(bus)
        assert alive() == 1


@pytest.mark.usefixtures("collector")
async def test_a_stop_while_it_cannot_begin_again(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """The log has gone and JetStream refuses another one: what is told to stop meanwhile stops in order."""
    bus = fresh_bus
    await ensure_streams(bus, fresh_settings)
    async with served(fresh_settings) as service:
        await eventually(lambda: service.health.ready)
        await bus.api("STREAM.DELETE.LOG_0", {})
        await bus.api("STREAM.CREATE.OTHER", {"name": "OTHER", "subjects": ["channel.0.x"]})
        other = Position(stream_seq=StreamSeq(0), epoch=Epoch("other"))
        subject = kv_subject(CHECKPOINTS, position_key(P0))
        await put(bus, subject, other.model_dump_json().encode())
        await eventually(lambda: "new epoch" in service.health.reasons.get(CHECKPOINTS, ""))


async def begun_again(bus: Bus) -> None:
    """A new epoch, and the sequencer counts in it."""
    epoch = await eventually(lambda: new_epoch(bus))
    await eventually(lambda: counts_in(bus, epoch))


async def new_epoch(bus: Bus) -> Epoch | None:
    """None if the sequencer has saved meanwhile."""
    try:
        return await begin_epoch(bus, await judge(bus, P0))
    except WrongLastSequence:
        return None


async def counts_in(bus: Bus, epoch: Epoch) -> bool:
    saved = await position(bus, P0)
    return saved is not None and saved.epoch == epoch and saved.stream_seq > 0


def alive() -> int:
    """Sequencers of this process, those that settled memory hides included."""
    gc.unfreeze()
    return sum(isinstance(one, Sequencer) for one in gc.get_objects())
