"""Compaction beside everything else: runs stay few, pages stay right, replaced files go after the grace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from archiver import compactor, partition
from archiver.core import compaction
from archiver.core.compaction import RUNS_MAX, Run, runs_of
from archiver.merge import merge_runs
from shared.archive_files import pin, scan
from shared.archive_manifest import Segment
from shared.archive_store import Reached, Store
from shared.bus import Bus
from shared.events import MessageErased, encode
from shared.records import HistoryPage, HistoryRequest
from shared.settings import CommonSettings
from shared.subjects import archive_subject, partition_of
from tests.support.archive import (
    archiver_settings,
    committed,
    created,
    key_of,
    posted,
    running,
    store,
)
from tests.support.events import example
from tests.support.waiting import eventually

TEA, GO = key_of("tea"), key_of("go")
FLUSH = 5


async def said(bus: Bus, rounds: int) -> None:
    """As many flushes of two channels: each is committed before the next is said."""
    for _ in range(rounds):
        for key in (TEA, GO):
            await store(bus, key, [encode(posted("hi")) for _ in range(FLUSH)])
        await committed(bus)


async def opened(bus: Bus) -> None:
    """Create the channels."""
    for key in (TEA, GO):
        await store(bus, key, [encode(created())])


async def page(bus: Bus, limit: int) -> list[int]:
    """The newest page of a channel."""
    request = HistoryRequest(workspace=TEA.workspace, channel=TEA.channel, limit=limit)
    subject = archive_subject(partition_of(TEA, 2), "history")
    reply = await bus.request(subject, request.model_dump_json().encode(), timeout_s=30)
    return [event.seq for event in HistoryPage.model_validate_json(reply).events]


def runs_in(directory: Path) -> list[list[Run]]:
    """Of every partition."""
    return [runs_of(manifest.segments) for manifest in pin(directory).manifests]


async def test_runs_are_merged_as_they_come(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """Not more than the bound for long; every event stays where it is, once; replaced files go in the end."""
    directory = tmp_path / "archive"
    settings = archiver_settings(fresh_settings, directory, flush_events=FLUSH, orphan_grace_s=0.0)
    async with running(fresh_bus, settings):
        await opened(fresh_bus)
        for rounds in range(1, 6):
            await said(fresh_bus, 4)
            assert await page(fresh_bus, 500) == list(range(1, rounds * 4 * FLUSH + 2))
        await eventually(lambda: all(len(runs) <= RUNS_MAX for runs in runs_in(directory)))
        assert any(run.parts[0].level == 1 for runs in runs_in(directory) for run in runs)
    total = 2 * (1 + 5 * 4 * FLUSH)
    assert len(list(scan(directory))) == total
    async with running(fresh_bus, settings):  # sweeps as it starts
        assert await page(fresh_bus, 500) == list(range(1, total // 2 + 1))
        for manifest in pin(directory).manifests:
            data = directory / f"p{manifest.partition:02d}" / "data"
            live = {segment.path for segment in manifest.segments}
            await eventually(lambda data=data, live=live: {path.name for path in data.iterdir()} == live)


async def test_replaced_files_stay_for_their_readers(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """A reader that pinned the archive before a merge reads on as if nothing had happened."""
    directory = tmp_path / "archive"
    settings = archiver_settings(fresh_settings, directory, flush_events=FLUSH, orphan_grace_s=900.0)
    async with running(fresh_bus, settings):
        await opened(fresh_bus)
        await said(fresh_bus, 2)
        pinned = pin(directory)
        await said(fresh_bus, 10)
        await eventually(lambda: any(manifest.retired for manifest in pin(directory).manifests))
        assert all(Path(file).exists() for file in pinned.files)
    async with running(fresh_bus, settings):
        assert all(Path(file).exists() for file in pinned.files)


async def test_a_merge_that_the_disk_refuses_is_tried_again(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile everything else goes on."""
    refusals = 3

    def refusing(
        files: Store, runs: Sequence[Run], reached: Reached, stopped: Callable[[], bool]
    ) -> list[Segment]:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise OSError("no space left")
        return merge_runs(files, runs, reached, stopped)

    monkeypatch.setattr(partition, "merge_runs", refusing)
    directory = tmp_path / "archive"
    async with running(fresh_bus, archiver_settings(fresh_settings, directory, flush_events=FLUSH)):
        await opened(fresh_bus)
        await said(fresh_bus, 12)
        await eventually(lambda: not refusals)
        await eventually(lambda: all(len(runs) <= RUNS_MAX for runs in runs_in(directory)))
        assert len(await page(fresh_bus, 500)) == 1 + 12 * FLUSH


async def test_an_archiver_that_stops_gives_its_merge_up(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with everything committed, and the merge is done by the next one."""
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def endless(
        files: Store, runs: Sequence[Run], reached: Reached, stopped: Callable[[], bool]
    ) -> list[Segment]:
        loop.call_soon_threadsafe(begun.set)
        while not stopped():
            pass
        return merge_runs(files, runs, reached, stopped)

    monkeypatch.setattr(partition, "merge_runs", endless)
    directory = tmp_path / "archive"
    settings = archiver_settings(fresh_settings, directory, flush_events=FLUSH)
    async with running(fresh_bus, settings):
        await opened(fresh_bus)
        await said(fresh_bus, 12)
        await begun.wait()
    assert len(list(scan(directory))) == 2 * (1 + 12 * FLUSH)
    monkeypatch.undo()
    async with running(fresh_bus, settings):
        await eventually(lambda: all(len(runs) <= RUNS_MAX for runs in runs_in(directory)))
    assert len(list(scan(directory))) == 2 * (1 + 12 * FLUSH)


async def test_what_is_to_be_erased_waits_for_no_merge_that_never_comes(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many runs there are: if none of them is to be merged, as very large ones never are."""
    monkeypatch.setattr(compaction, "RUN_ROWS_MAX", 1)
    monkeypatch.setattr(compactor, "CROWD", 2)
    directory = tmp_path / "archive"
    settings = archiver_settings(fresh_settings, directory, flush_events=FLUSH, erased_grace_s=0.0)
    async with running(fresh_bus, settings):
        await opened(fresh_bus)
        await said(fresh_bus, 4)
        assert all(len(runs) > 2 for runs in runs_in(directory))
        await store(fresh_bus, TEA, [encode(example(MessageErased, ref=2))])
        await eventually(lambda: any(manifest.erased for manifest in pin(directory).manifests), within_s=60)
    assert [row.seq for row in scan(directory, channel=TEA.channel) if row.text == ""] == [2]
