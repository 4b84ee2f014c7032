"""Ingest against a real server that dies, a disk that refuses, and a second archiver."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from archiver.app import Archiver
from archiver.ingest import PAUSE_FACTOR
from archiver.manifest_store import Fenced, ForeignArchive
from shared.archive_files import epochs_set_aside, pin, scan
from shared.archive_rows import body_of, recorded_of
from shared.bus import Bus
from shared.events import encode
from shared.health import Health
from shared.ids import Partition
from shared.log_epochs import begin_epoch, judge, look
from shared.records import ArchiveStatus, Failure, HistoryRequest, Position
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import CHECKPOINTS, archive_subject, kv_subject, partition_of, position_key
from tests.support.archive import (
    archiver_settings,
    created,
    key_of,
    posted,
    read_logs,
    running,
    status,
    store,
    taken,
)
from tests.support.nats import NatsServer
from tests.support.storing import put
from tests.support.waiting import eventually

TEA, GO = key_of("tea"), key_of("go")


def messages(count: int) -> list[bytes]:
    """A channel's log."""
    return [encode(created()), *(encode(posted(f"{number} \x00")) for number in range(count))]


async def check_archive(bus: Bus, directory: Path) -> None:
    """The archive is the logs: every event once, with the numbers and verdicts of the fold."""
    logged = await read_logs(bus)
    rows = list(scan(directory))
    assert len(rows) == logged.total
    for row in rows:
        recorded = recorded_of(row)
        assert recorded == logged.events[recorded.key][row.seq - 1]
        assert body_of(row) == logged.bodies[recorded.key][row.seq - 1]


async def test_a_server_that_dies_and_comes_back(
    fresh_bus: Bus, fresh_nats_server: NatsServer, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """The server is killed and restarted under the archiver: nothing is missing, nothing twice."""
    assert partition_of(TEA, 2) != partition_of(GO, 2)
    settings = archiver_settings(fresh_settings, tmp_path / "archive", flush_events=40)
    async with running(fresh_bus, settings):
        for _ in range(2):
            publishing = asyncio.gather(
                store(fresh_bus, TEA, messages(150)), store(fresh_bus, GO, messages(150))
            )
            await eventually(lambda: sum(m.hi for m in pin(tmp_path / "archive").manifests) > 40)
            await asyncio.to_thread(fresh_nats_server.restart)
            await publishing
        await taken(fresh_bus)
    await check_archive(fresh_bus, tmp_path / "archive")


async def test_a_disk_that_refuses(fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path) -> None:
    """While segments cannot be written, requests are answered and readiness says why; then it goes on."""
    directory = tmp_path / "archive"
    settings = archiver_settings(fresh_settings, directory, flush_events=10)
    data, aside = directory / f"p{partition_of(TEA, 2):02d}" / "data", tmp_path / "aside"
    async with running(fresh_bus, settings) as archiver:
        data.rename(aside)
        data.touch()
        await store(fresh_bus, TEA, messages(11))
        await eventually(lambda: not archiver.health.ready)
        assert any("disk" in reason for reason in archiver.health.reasons.values())
        await taken(fresh_bus)
        data.unlink()
        aside.rename(data)
        await eventually(lambda: archiver.health.ready)
    await check_archive(fresh_bus, directory)


async def test_ingest_pauses_at_its_bound(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """With a disk that refuses, memory stays bounded: the log keeps what is not taken, and later it comes."""
    directory = tmp_path / "archive"
    settings = archiver_settings(fresh_settings, directory, flush_events=10)
    data, aside = directory / f"p{partition_of(TEA, 2):02d}" / "data", tmp_path / "aside"
    follower_batch = 500
    async with running(fresh_bus, settings) as archiver:
        data.rename(aside)
        data.touch()
        last = await store(fresh_bus, TEA, messages(2 * follower_batch))
        await eventually(lambda: not archiver.health.ready)
        known = await status(fresh_bus, partition_of(TEA, 2))
        assert known is not None
        assert known.watermark == 0
        assert known.applied < PAUSE_FACTOR * 10 + follower_batch < last
        data.unlink()
        aside.rename(data)
        await taken(fresh_bus)
    await check_archive(fresh_bus, directory)


async def test_a_second_archiver_fences_the_first(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """Two archivers on one archive: the earlier one ends at its next commit, and the archive is right."""
    directory = tmp_path / "archive"
    settings = archiver_settings(fresh_settings, directory, flush_events=10)
    async with running(fresh_bus, settings) as first:
        await store(fresh_bus, TEA, messages(25))
        async with running(fresh_bus, settings) as second:
            await store(fresh_bus, TEA, messages(25))
            with pytest.raises(ExceptionGroup) as ended:
                await asyncio.wait_for(asyncio.shield(first.task), 20)
            assert ended.value.subgroup(Fenced) is not None
            assert not second.task.done()
            await taken(fresh_bus)
    await check_archive(fresh_bus, directory)


async def test_an_archive_of_a_log_that_was_made_anew(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """An archive of an epoch that the log never had is somebody else's: it ends, and says so."""
    settings = archiver_settings(fresh_settings, tmp_path / "archive")
    async with running(fresh_bus, settings):
        await store(fresh_bus, TEA, messages(5))
        await taken(fresh_bus)
    before = pin(tmp_path / "archive").files
    await fresh_bus.api(f"STREAM.DELETE.LOG_{partition_of(TEA, 2)}", {})
    with pytest.raises(ExceptionGroup) as ended:
        async with running(fresh_bus, settings) as again:
            await again.task
    assert ended.value.subgroup(ForeignArchive) is not None
    assert pin(tmp_path / "archive").files == before


async def test_a_log_that_was_replaced_under_it(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """What it had heard is archived, and nothing of the other log until that has a new epoch."""
    directory, partition = tmp_path / "archive", partition_of(TEA, 2)
    settings = archiver_settings(fresh_settings, directory, flush_interval_s=60)
    async with running(fresh_bus, settings):
        last = await store(fresh_bus, TEA, messages(5))
        await eventually(lambda: _knows(fresh_bus, last))
        stored = await fresh_bus.stored_at_leader(f"LOG_{partition}", last)
        assert stored is not None
        label = (await look(fresh_bus, partition)).label
        await _save(fresh_bus, Position(stream_seq=last, at_us=stored.at_us, epoch=label))
        await fresh_bus.api(f"STREAM.DELETE.LOG_{partition}", {})
        await ensure_streams(fresh_bus, settings)
        await store(fresh_bus, TEA, messages(2))
        await eventually(lambda: _archived(directory) == last, within_s=60)
        await begin_epoch(fresh_bus, await judge(fresh_bus, partition))
        await taken(fresh_bus)
        asked = HistoryRequest(workspace=TEA.workspace, channel=TEA.channel, epoch=label)
        answer = await fresh_bus.request(
            archive_subject(partition, "history"), asked.model_dump_json().encode(), timeout_s=10
        )
        assert Failure.model_validate_json(answer).error == "unavailable"
    await check_archive(fresh_bus, directory)
    (aside,) = epochs_set_aside(directory)
    assert [row.seq for row in scan(aside)] == list(range(1, last + 1))


async def test_a_log_that_was_replaced_behind_what_was_read(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """Nothing in the log shows it: the archiver hears of the new epoch, and begins again in it."""
    directory, partition = tmp_path / "archive", partition_of(TEA, 2)
    async with running(fresh_bus, archiver_settings(fresh_settings, directory)):
        last = await store(fresh_bus, TEA, messages(5))
        await taken(fresh_bus)
        epoch = await begin_epoch(fresh_bus, await judge(fresh_bus, partition))
        await eventually(lambda: [m.epoch for m in pin(directory).manifests].count(epoch) == 1, within_s=60)
        await taken(fresh_bus)
    await check_archive(fresh_bus, directory)
    (aside,) = epochs_set_aside(directory)
    assert len(list(scan(aside))) == last


@pytest.mark.parametrize("grown", [0, 7])
async def test_an_archive_that_holds_more_than_the_log(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, grown: int
) -> None:
    """If nothing else knows what is gone, an operator decides: it waits, says what to do, writes nothing."""
    directory, partition = tmp_path / "archive", partition_of(TEA, 2)
    settings = archiver_settings(fresh_settings, directory)
    async with running(fresh_bus, settings):
        last = await store(fresh_bus, TEA, messages(5))
        await taken(fresh_bus)
    config = (await fresh_bus.api(f"STREAM.INFO.LOG_{partition}", {}))["config"]
    assert isinstance(config, dict)
    await fresh_bus.api(f"STREAM.DELETE.LOG_{partition}", {})
    await fresh_bus.api(f"STREAM.CREATE.LOG_{partition}", config)
    if grown:
        await store(fresh_bus, TEA, messages(grown))
    before = pin(directory).manifests
    health = Health()
    archiver = Archiver(fresh_bus, await ensure_streams(fresh_bus, settings), settings, health)
    task = asyncio.create_task(archiver.run())
    name = f"archive {partition}"
    try:
        await eventually(lambda: "parley new-epoch" in health.reasons.get(name, ""), within_s=60)
        assert pin(directory).manifests[partition] == before[partition]
        await begin_epoch(fresh_bus, await judge(fresh_bus, partition))
        await eventually(lambda: health.ready, within_s=60)
        await taken(fresh_bus)
    finally:
        await archiver.stop()
        await task
    await check_archive(fresh_bus, directory)
    (aside,) = epochs_set_aside(directory)
    assert len(list(scan(aside))) == last


async def _knows(bus: Bus, position: int) -> bool:
    found = await status(bus, partition_of(TEA, 2))
    return found is not None and found.applied == position


def _archived(directory: Path) -> int:
    return max(manifest.hi for manifest in pin(directory).manifests)


async def _save(bus: Bus, position: Position) -> None:
    subject = kv_subject(CHECKPOINTS, position_key(partition_of(TEA, 2)))
    await put(bus, subject, position.model_dump_json().encode())


async def test_odd_subjects_do_not_stop_it(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """What some other publisher puts below `channel.` is numbered like a channel and harms nobody."""
    async with running(fresh_bus, archiver_settings(fresh_settings, tmp_path / "archive")):
        for subject in ("channel.0.a", "channel.0.a.b.c.d", "channel.0.$.~"):
            for _ in range(2):
                await put(fresh_bus, subject, b"x")
        await store(fresh_bus, TEA, messages(3))
        await taken(fresh_bus)
    await check_archive(fresh_bus, tmp_path / "archive")


async def test_time_alone_makes_a_segment_due(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """A few events in a quiet partition are in Parquet after the interval."""
    settings = archiver_settings(fresh_settings, tmp_path / "archive", flush_interval_s=0.2)
    async with running(fresh_bus, settings):
        last = await store(fresh_bus, TEA, messages(2))

        async def watermark() -> bool:
            raw = await fresh_bus.request(
                archive_subject(Partition(partition_of(TEA, 2)), "status"), b"", timeout_s=2
            )
            return ArchiveStatus.model_validate_json(raw).watermark == last

        await eventually(watermark)
