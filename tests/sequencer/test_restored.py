"""A log whose directory was replaced by an older copy: a new epoch, and what was lost is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sequencer.restored import settled_epoch
from shared import events as e
from shared.bus import Bus
from shared.ids import ChannelKey, Epoch, Partition, StreamSeq
from shared.log_epochs import look, proven_epoch, saved_position
from shared.records import Position
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import DIRECTORY, directory_key, kv_subject
from tests.support.logs import USERS, channels_of, command
from tests.support.nats import NatsServer
from tests.support.sequencing import PARTITIONS, all_saved, quick, record, saved
from tests.support.services import ServiceProcess
from tests.support.waiting import eventually

ANN, BO, _ = USERS
P0 = Partition(0)
OLD, LOST = channels_of(P0, PARTITIONS, 2)
OTHER = channels_of(Partition(1), PARTITIONS, 1)[0]


@pytest.fixture
async def processes(fresh_settings: CommonSettings, tmp_path: Path) -> AsyncIterator[list[ServiceProcess]]:
    """Two sequencers."""
    settings = {
        f"PARLEY_{name.upper()}": str(value)
        for name, value in quick(fresh_settings).model_dump(mode="json").items()
        if name in {"partitions", "checkpoint_interval_s", "heads_interval_s"}
    }
    pair = [
        ServiceProcess(
            "sequencer", tmp_path / f"s{n}.log", PARLEY_NATS_URL=fresh_settings.nats_url, **settings
        )
        for n in range(2)
    ]
    yield pair
    for process in pair:
        if process.running:
            process.kill()


async def open_channel(bus: Bus, key: ChannelKey, number: int) -> None:
    await record(
        bus, key, e.ChannelCreated(id=command(number), author=ANN, channel_kind="public", name=key.channel)
    )


async def say(bus: Bus, key: ChannelKey, first: int, count: int) -> None:
    for number in range(first, first + count):
        await record(bus, key, e.MessagePosted(id=command(number), author=ANN, text=str(number)))


async def everything_saved(bus: Bus) -> None:
    await eventually(lambda: all_saved(bus), within_s=20, every_s=0.1)


async def restored(bus: Bus, server: NatsServer, copy: Path) -> None:
    await asyncio.to_thread(server.restore_stream, "LOG_0", copy)
    await eventually(lambda: bus.connected)


async def in_new_epoch(bus: Bus, old: Epoch) -> bool:
    position = await saved_position(bus, P0)
    return position is not None and position.epoch not in {"", old} and await all_saved(bus)


@pytest.mark.parametrize("grown", [0, 60])
async def test_restored_under_running_sequencers(
    fresh_bus: Bus,
    fresh_settings: CommonSettings,
    fresh_nats_server: NatsServer,
    processes: list[ServiceProcess],
    grown: int,
) -> None:
    """The log gets a new epoch, checkpoints and directory say what it holds, also if it has grown again."""
    bus = fresh_bus
    before = (await ensure_streams(bus, fresh_settings)).epochs
    await open_channel(bus, OLD, 1)
    await open_channel(bus, OTHER, 2)
    await say(bus, OLD, 10, 10)
    copy = await asyncio.to_thread(fresh_nats_server.copy_stream, "LOG_0")
    await eventually(lambda: bus.connected)
    for process in processes:
        await process.start()
    await open_channel(bus, LOST, 30)
    await say(bus, OLD, 40, 20)
    await everything_saved(bus)
    assert await proven_epoch(bus, P0) == before[P0]
    await restored(bus, fresh_nats_server, copy)
    await say(bus, OLD, 100, grown)
    await eventually(lambda: in_new_epoch(bus, before[P0]), within_s=20)
    assert (await saved(bus))[OLD][0] == 11 + grown
    assert LOST not in await saved(bus)
    assert (await look(bus, P0)).replaced == before[P0]
    assert await proven_epoch(bus, Partition(1)) == before[Partition(1)]
    await eventually(lambda: belongs(bus, OLD))
    assert not await belongs(bus, LOST)


async def test_restored_again_from_the_same_copy(
    fresh_bus: Bus,
    fresh_settings: CommonSettings,
    fresh_nats_server: NatsServer,
    processes: list[ServiceProcess],
) -> None:
    """The copy brings its old epoch back each time, and each time another new one takes its place."""
    bus = fresh_bus
    epoch = (await ensure_streams(bus, fresh_settings)).epochs[P0]
    await open_channel(bus, OLD, 1)
    copy = await asyncio.to_thread(fresh_nats_server.copy_stream, "LOG_0")
    await eventually(lambda: bus.connected)
    seen = {epoch}
    await processes[0].start()
    for round_ in range(2):
        await say(bus, OLD, 100 * round_ + 10, 5)
        await everything_saved(bus)
        await restored(bus, fresh_nats_server, copy)
        await eventually(lambda old=epoch: in_new_epoch(bus, old), within_s=20)
        epoch = await proven_epoch(bus, P0)
        assert epoch not in seen
        seen.add(epoch)


async def test_who_comes_later_takes_over_the_epoch(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """Two find the same loss: the epoch changes once."""
    before = (await ensure_streams(fresh_bus, fresh_settings)).epochs[P0]
    lost = Position(stream_seq=StreamSeq(9), at_us=1, epoch=before)
    first = await settled_epoch(fresh_bus, P0, lost, None, None)
    assert await settled_epoch(fresh_bus, P0, lost, None, None) == first
    assert first == ((await look(fresh_bus, P0)).epoch, False)
    assert first[0] != before


async def belongs(bus: Bus, key: ChannelKey) -> bool:
    subject = kv_subject(DIRECTORY, directory_key(key.workspace, ANN, key.channel))
    return await bus.last(f"KV_{DIRECTORY}", subject) is not None
