"""`history`: a page of a large archive, by traffic and of channels picked evenly, and pages a second.

The archive has 10 million events in 10,000 channels, or as many events as `BENCH_EVENTS` says (100000000), a
thousand times as many as channels; it is written and merged as the archiver does it, in the state of runs in
which that leaves it. By traffic: each event is as likely to have its channel asked for. A page is the newest
50 events, found through the cache and read by DuckDB as in the service, on two threads. Reference: the same
page from all files of the archive, without the cache.

The merges' figures are CPU and memory of a process that does nothing else.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from archiver.core.compaction import runs_of
from archiver.duck import Duck
from archiver.history import History
from archiver.partition import PartitionArchive
from archiver.segment_reader import Known
from archiver.threads import Threads
from shared.archive_files import pin
from shared.archive_store import open_store
from shared.ids import ChannelId, ChannelKey, Partition, WorkspaceId
from shared.records import HistoryRequest
from tests.bench.generated import EPOCH, WORKSPACE, Generated, channels_of, generated
from tests.bench.measure import median, percentile
from tests.bench.report import Figure

NAME = "history"
EVENTS = 10_000_000
PAGE = 50
PAGES = 300
AT_ONCE = 4
REFERENCE_PAGES = 20


async def measure(repetitions: int) -> list[Figure]:
    """Milliseconds of pages, pages a second, and what the merges took."""
    events = int(os.environ.get("BENCH_EVENTS", EVENTS))
    with generated(events) as (directory, made):
        async with _opened(directory) as history:
            figures = await _pages(history, directory, made, repetitions)
    return figures + _merges(made)


@asynccontextmanager
async def _opened(directory: Path) -> AsyncIterator[History]:
    archive = PartitionArchive(open_store(directory), directory / "cache", Partition(0), EPOCH)
    archive.open()
    lookups = Threads("lookup", 2)
    duck = Duck(workers=2, memory_limit="1GB", waiting_max=64)
    try:
        yield History(archive, duck, lookups, 60.0, Known())
    finally:
        lookups.close()
        duck.close()
        archive.close()


async def _pages(history: History, directory: Path, made: Generated, repetitions: int) -> list[Figure]:
    events, runs = made.manifest.hi, len(runs_of(made.manifest.segments))
    case = f"{events} events, {events // 1000} channels, {runs} runs, {len(made.manifest.segments)} files"
    busy, quiet = chosen(directory / "cache", PAGES * repetitions)
    by_traffic = [await page_ms(history, channel) for channel in busy]
    evenly = [await page_ms(history, channel) for channel in quiet]
    rate = median([await _rate(history, busy) for _ in range(repetitions)])
    whole = median([await _reference_ms(history, directory, channel) for channel in busy[:REFERENCE_PAGES]])

    def figure(name: str, unit: str, value: float, target: float, **more: object) -> Figure:
        return Figure(NAME, case, name, unit, value, len(busy), target=target, **more)  # type: ignore[arg-type]

    compared = {"reference": whole, "reference_name": "over all files", "ratio": median(by_traffic) / whole}
    return [
        figure("page by traffic, median", "ms", median(by_traffic), 8.0, **compared),
        figure("page by traffic, p95", "ms", percentile(sorted(by_traffic), 0.95), 20.0),
        figure("page of any channel, median", "ms", median(evenly), 25.0),
        figure("page of any channel, p95", "ms", percentile(sorted(evenly), 0.95), 25.0),
        figure("pages a second, four at once", "1/s", rate, 250.0, at_least=True),
    ]


def chosen(cache: Path, count: int) -> tuple[list[str], list[str]]:
    """Channels as events have them, and channels as the cache lists them."""
    channels, rng = channels_of(cache), random.Random(11)
    names = list(channels)
    return rng.choices(names, list(channels.values()), k=count), rng.choices(names, k=count)


async def page_ms(history: History, channel: str) -> float:
    """How long the newest page of a channel takes."""
    request = HistoryRequest(workspace=WorkspaceId(WORKSPACE), channel=ChannelId(channel), limit=PAGE)
    began_s = time.monotonic()
    page = await history.page(request)
    took_ms = (time.monotonic() - began_s) * 1000
    assert page.events
    return took_ms


async def _rate(history: History, channels: list[str]) -> float:
    waiting = iter(channels)

    async def ask() -> None:
        for channel in waiting:
            await page_ms(history, channel)

    began_s = time.monotonic()
    await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    return len(channels) / (time.monotonic() - began_s)


async def _reference_ms(history: History, directory: Path, channel: str) -> float:
    """The same range of the same channel, from every file there is."""
    key = ChannelKey(WorkspaceId(WORKSPACE), ChannelId(channel))
    head = await history._head(key)
    query = (
        "SELECT * FROM read_parquet($files) WHERE workspace = $workspace AND channel = $channel"
        " AND seq BETWEEN $first AND $last ORDER BY seq"
    )
    parameters = {
        "files": pin(directory).files,
        **key._asdict(),
        "first": head.seq - PAGE + 1,
        "last": head.seq,
    }
    began_s = time.monotonic()
    await history._duck.rows(query, parameters, timeout_s=60.0)
    return (time.monotonic() - began_s) * 1000


def _merges(made: Generated) -> list[Figure]:
    merged = sum(merge.events for merge in made.merges)
    events = made.manifest.hi
    size = sum(segment.bytes for segment in made.manifest.segments)
    case = f"{events} events, {len(made.merges)} merges"
    figures = [Figure(NAME, case, "Parquet", "bytes/event", size / events, 1, target=60.0)]
    if made.merges:
        cpu_s = sum(merge.cpu_s for merge in made.merges)
        rss = max(merge.rss_bytes for merge in made.merges) / 1e9
        figures += [
            Figure(NAME, case, "merged", "rows/CPU s", merged / cpu_s, 1, target=400_000.0, at_least=True),
            Figure(NAME, case, "memory of a merge", "GB", rss, 1, target=1.5),
            Figure(NAME, case, "written again", "times", merged / events, 1),
        ]
    return figures
