"""A log whose directory was replaced by an older copy: a new epoch, and what was lost is forgotten."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sequencer.app import Sequencer
from sequencer.restored import _replace, settled_epoch
from shared import events as e
from shared.bus import Bus
from shared.errors import LogRegressed, Unavailable
from shared.health import Health
from shared.ids import ChannelKey, Epoch, Partition, StreamSeq
from shared.log_epochs import begin_epoch, judge, look, proven, saved_position
from shared.records import Position
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import CHECKPOINTS, DIRECTORY, directory_key, kv_subject, position_key
from tests.support.logs import USERS, channels_of, command
from tests.support.nats import NatsServer
from tests.support.sequencing import PARTITIONS, all_saved, quick, record, saved, sequencing
from tests.support.services import ServiceProcess
from tests.support.storing import put
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
    await eventually(lambda: all_saved(bus), within_s=60, every_s=0.1)


async def restored(bus: Bus, server: NatsServer, copy: Path) -> None:
    await asyncio.to_thread(server.restore_stream, "LOG_0", copy)
    await eventually(lambda: bus.connected)


async def in_new_epoch(bus: Bus, old: Epoch) -> bool:
    position = (await saved_position(bus, P0)).position
    return position is not None and position.epoch not in {"", old} and await all_saved(bus)


@pytest.mark.faults
@pytest.mark.timeout(300)
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
    assert (await proven(bus, P0)).epoch == before[P0]
    await restored(bus, fresh_nats_server, copy)
    await say(bus, OLD, 100, grown)
    await eventually(lambda: in_new_epoch(bus, before[P0]), within_s=60)
    assert (await saved(bus))[OLD][0] == 11 + grown
    assert LOST not in await saved(bus)
    assert (await look(bus, P0)).replaced == (before[P0],)
    assert (await proven(bus, Partition(1))).epoch == before[Partition(1)]
    await eventually(lambda: belongs(bus, OLD))
    assert not await belongs(bus, LOST)


@pytest.mark.faults
@pytest.mark.timeout(300)
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
        await eventually(lambda old=epoch: in_new_epoch(bus, old), within_s=60)
        epoch = (await proven(bus, P0)).epoch
        assert epoch not in seen
        seen.add(epoch)


async def lost(bus: Bus, settings: CommonSettings) -> Epoch:
    """A log whose position speaks of an event that it does not hold; its epoch."""
    epoch = (await ensure_streams(bus, settings)).epochs[P0]
    position = Position(stream_seq=StreamSeq(9), at_us=1, epoch=epoch)
    await put(bus, kv_subject(CHECKPOINTS, position_key(P0)), position.model_dump_json().encode())
    return epoch


async def test_two_who_find_the_same_loss(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """At once or one behind the other: the epoch changes once."""
    before = await lost(fresh_bus, fresh_settings)
    found = await asyncio.gather(*(settled_epoch(fresh_bus, P0, None, None) for _ in range(3)))
    later = await settled_epoch(fresh_bus, P0, None, None)
    assert {one.epoch for one in (*found, later)} == {(await look(fresh_bus, P0)).label}
    assert later.replaced == (before,)
    assert later.epoch != before


async def test_a_death_behind_the_new_epoch(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """Who begins an epoch and dies: the next start does the rest, and begins no other one."""
    before = await lost(fresh_bus, fresh_settings)
    epoch = await begin_epoch(fresh_bus, await judge(fresh_bus, P0))
    assert (await look(fresh_bus, P0)).label == before
    assert await settled_epoch(fresh_bus, P0, None, None) == (epoch, True, (before,))
    assert (await look(fresh_bus, P0)).label == epoch


async def test_one_who_is_late_with_its_verdict(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """It was stopped while another one began the epoch and counted: what that one saved stays."""
    await lost(fresh_bus, fresh_settings)
    await open_channel(fresh_bus, OLD, 1)
    verdict = await judge(fresh_bus, P0)
    async with sequencing(fresh_settings) as other:
        await everything_saved(fresh_bus)
        assert await _replace(fresh_bus, verdict, None) == (other.ledgers[0].epoch, False, (verdict.epoch,))
        assert (await saved(fresh_bus)).keys() == {OLD}
        await eventually(lambda: belongs(fresh_bus, OLD))  # the directory was deleted, and is written again


@pytest.mark.parametrize("said", [0, 1])
async def test_who_still_counts_in_the_old_epoch_is_stopped(
    fresh_bus: Bus, fresh_settings: CommonSettings, said: int
) -> None:
    """Also while nobody says anything; it finds the new epoch when it begins again."""
    bus = fresh_bus
    await ensure_streams(bus, fresh_settings)
    await open_channel(bus, OLD, 1)
    settings = quick(fresh_settings)
    async with Bus.connect(settings, "sequencer") as other:
        asleep = await Sequencer.load(other, settings, Health())
        running = asyncio.create_task(asleep.run())
        await everything_saved(bus)
        epoch = await begin_epoch(bus, await judge(bus, P0))
        await say(bus, OLD, 100, said)
        with pytest.raises(ExceptionGroup) as ended:
            async with asyncio.timeout(30):
                await running
    assert ended.value.subgroup(LogRegressed) is not None
    async with sequencing(fresh_settings):
        await everything_saved(bus)
    assert (await proven(bus, P0)).epoch == epoch


async def test_a_trimmed_log_that_was_restored_is_refused(
    fresh_bus: Bus, fresh_settings: CommonSettings
) -> None:
    """It cannot be counted from its beginning: nothing is touched, and it stays unproven for everybody."""
    bus = fresh_bus
    before = await lost(bus, fresh_settings)
    await open_channel(bus, OLD, 1)
    await say(bus, OLD, 10, 3)
    await bus.api("STREAM.PURGE.LOG_0", {"seq": 3})
    with pytest.raises(LogRegressed, match="begins at 3"):
        await settled_epoch(bus, P0, None, None)
    position = (await saved_position(bus, P0)).position
    assert position is not None
    assert (position.epoch, position.stream_seq) == (before, 9)


async def test_who_has_counted_further_than_was_saved(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """What a running sequencer remembers refutes a log that nothing saved speaks against."""
    bus = fresh_bus
    before = (await ensure_streams(bus, fresh_settings)).epochs[P0]
    await open_channel(bus, OLD, 1)
    counted = Position(stream_seq=StreamSeq(4), at_us=1, epoch=before)
    assert (await settled_epoch(bus, P0, None, counted)).epoch != before


async def belongs(bus: Bus, key: ChannelKey) -> bool:
    subject = kv_subject(DIRECTORY, directory_key(key.workspace, ANN, key.channel))
    with contextlib.suppress(Unavailable):  # just now it is deleted and made anew
        return await bus.last(f"KV_{DIRECTORY}", subject) is not None
    return False
