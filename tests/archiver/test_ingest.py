"""Ingest against a real server that dies, a disk that refuses, and a second archiver."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from archiver.ingest import PAUSE_FACTOR
from archiver.manifest_store import Fenced
from shared.archive_files import pin, scan
from shared.archive_rows import body_of, recorded_of
from shared.bus import Bus
from shared.errors import LogRegressed
from shared.events import encode
from shared.ids import Partition
from shared.records import ArchiveStatus
from shared.settings import CommonSettings
from shared.subjects import archive_subject, partition_of
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


async def test_a_log_that_lost_its_end_stops_the_archiver(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """An archive that knows more than the log must not number on: it ends and says so."""
    settings = archiver_settings(fresh_settings, tmp_path / "archive")
    async with running(fresh_bus, settings):
        await store(fresh_bus, TEA, messages(5))
        await taken(fresh_bus)
    before = pin(tmp_path / "archive").files
    await fresh_bus.api(f"STREAM.DELETE.LOG_{partition_of(TEA, 2)}", {})
    with pytest.raises(ExceptionGroup) as ended:
        async with running(fresh_bus, settings) as again:
            await again.task
    assert ended.value.subgroup(LogRegressed) is not None
    assert pin(tmp_path / "archive").files == before


async def test_odd_subjects_do_not_stop_it(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """What some other publisher puts below `channel.` is numbered like a channel and harms nobody."""
    async with running(fresh_bus, archiver_settings(fresh_settings, tmp_path / "archive")):
        for subject in ("channel.0.a", "channel.0.a.b.c.d", "channel.0.$.~"):
            for _ in range(2):
                await fresh_bus.commit(subject, b"x")
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
