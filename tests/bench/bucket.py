"""`bucket`: a page of an archive in a bucket whose every request takes 15 ms more, cold and warm.

The bucket is one of a real server (SeaweedFS) behind a proxy that adds the time. The archive has a million
events (`BENCH_EVENTS` says another number) in the state of runs in which the archiver leaves it. By traffic:
each event is as likely to have its channel asked for. Cold: nothing of any file is known, as before footers
are read ahead. Warm: the process has answered twice as many pages by traffic before, and has room for all row
groups of them, or, as with a larger archive, for a tenth of the archive's; the same page again: that one,
too. Reference: cold pages without the delay.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from archiver.core.compaction import runs_of
from archiver.duck import Duck
from archiver.history import History
from archiver.kept_groups import KeptGroups
from archiver.partition import PartitionArchive
from archiver.segment_reader import Known
from archiver.settings import PAGE_CACHE_BYTES
from archiver.threads import Threads
from shared.archive_store import LocalStore, Store, open_store
from shared.ids import Partition
from tests.bench import generated
from tests.bench.generated import EPOCH, Generated, generate
from tests.bench.history import chosen, page_ms
from tests.bench.lag_proxy import Lag, lagging
from tests.bench.measure import median, percentile
from tests.bench.report import Figure
from tests.support.seaweed import Seaweed

NAME = "bucket"
EVENTS = 1_000_000
FLUSHES = 38
"""Which leave eight runs, the most that there are."""
PAGES = 60
LAG_S = 0.015
DECODED_BYTES = 170
"""Of an event in a row group that is kept."""
COLD_MS_MAX, WARM_MS_MAX = 150.0, 10.0


async def measure(repetitions: int) -> list[Figure]:
    """Milliseconds and requests of pages."""
    events = int(os.environ.get("BENCH_EVENTS", EVENTS))
    with tempfile.TemporaryDirectory(prefix="parley-bench-", dir=os.environ.get("BENCH_DIR")) as scratch:
        directory = Path(scratch) / "archive"
        generated.OF_A_RUN = -(-events // FLUSHES)
        made = generate(directory, Path(scratch) / "cache", events, max(100, events // 1000))
        server = Seaweed(Path(scratch) / "seaweed")
        server.start()
        try:
            _upload(LocalStore(directory), open_store("s3://archive/bench", server.environ), made)
            with lagging(int(server.endpoint.rpartition(":")[2]), LAG_S) as lag:
                return await _measure(server, Path(scratch) / "cache", made, lag, repetitions)
        finally:
            server.stop()


def _upload(directory: Store, bucket: Store, made: Generated) -> None:
    names = [f"p00/data/{segment.path}" for segment in made.manifest.segments]
    names += ["schema.parquet", *(f"p00/manifest/{name}" for name in directory.names("p00/manifest"))]
    for name in names:
        bucket.create(name, directory.read(name))


async def _measure(server: Seaweed, cache: Path, made: Generated, lag: Lag, repetitions: int) -> list[Figure]:
    case = (
        f"{made.manifest.hi} events, {len(runs_of(made.manifest.segments))} runs, "
        f"{len(made.manifest.segments)} files, +{LAG_S * 1000:.0f} ms a request"
    )
    near = open_store("s3://archive/bench", server.environ)
    far_environ = server.environ | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{lag.port}"}
    far = open_store("s3://archive/bench", far_environ)
    busy, quiet = chosen(cache, PAGES * repetitions)
    before, _ = chosen(cache, 3 * PAGES * repetitions)
    at_hand = [(await _cold(near, cache, channel, lag.requests))[0] for channel in busy[:PAGES]]
    figures = []
    for what, channels in (("by traffic", busy), ("of any channel", quiet)):
        pages = [await _cold(far, cache, channel, lag.requests) for channel in channels]
        cold, requests = [took for took, _ in pages], sum(count for _, count in pages) / len(pages)
        near_ms = median(at_hand)
        compared = {"reference": near_ms, "reference_name": "without delay", "ratio": median(cold) / near_ms}
        figures += _figures(case, f"cold page {what}", cold, requests, COLD_MS_MAX, **compared)
    a_tenth = made.manifest.hi * DECODED_BYTES // 10
    async with _opened(far, cache, a_tenth) as history:
        for channel in before[len(busy) :]:
            await page_ms(history, channel)
        figures += await _warm(history, busy, lag, case, "warm page by traffic, room for a tenth")
    async with _opened(far, cache) as history:
        for channel in before[len(busy) :]:
            await page_ms(history, channel)
        figures += await _warm(history, busy, lag, case, "warm page by traffic")
        again = [channel for channel in busy[-30:] for _ in range(2)]
        for channel in again:
            await page_ms(history, channel)
        figures += await _warm(history, again[1::2], lag, case, "the same page again")
    return figures


async def _warm(history: History, channels: Sequence[str], lag: Lag, case: str, what: str) -> list[Figure]:
    before = lag.requests()
    took = [await page_ms(history, channel) for channel in channels]
    requests = (lag.requests() - before) / len(took)
    return _figures(case, what, took, requests, WARM_MS_MAX)


def _figures(
    case: str, what: str, took: list[float], requests: float, target: float, **compared: object
) -> list[Figure]:
    return [
        Figure(NAME, case, f"{what}, median", "ms", median(took), len(took), target=target, **compared),  # type: ignore[arg-type]
        Figure(NAME, case, f"{what}, p95", "ms", percentile(sorted(took), 0.95), len(took)),
        Figure(NAME, case, f"{what}, requests", "1/page", requests, len(took)),
    ]


async def _cold(store: Store, cache: Path, channel: str, requests: Callable[[], int]) -> tuple[float, int]:
    """By one who knows the manifest, and nothing of its files."""
    async with _opened(store, cache, ahead=False) as history:
        before = requests()
        return await page_ms(history, channel), requests() - before


@asynccontextmanager
async def _opened(
    store: Store, cache: Path, room: int = PAGE_CACHE_BYTES, *, ahead: bool = True
) -> AsyncIterator[History]:
    archive = PartitionArchive(store, cache, Partition(0), EPOCH)
    archive.open()
    lookups = Threads("lookup", 2)
    known, over = Known(groups=KeptGroups(room)), threading.Event()
    if not ahead:
        known.ahead.submit(over.wait)
    duck = Duck(workers=2, memory_limit="512MB", waiting_max=64, prepare=store.prepare)
    try:
        yield History(archive, duck, lookups, 60.0, known)
    finally:
        over.set()
        lookups.close()
        duck.close()
        known.close()
        archive.close()
