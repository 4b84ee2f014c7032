"""`sql`: a count by day over a large archive, as the operator and in a user's sandbox, and a sandbox's start.

The archive is generated: 10 million events (`BENCH_EVENTS` says another number, 100000000 for example) of
10,000 channels, some of which have most of them; 83 % messages, 5 % edits, 1 % deletions, 10 % reactions. The
user may read half of the channels. References: the same count by DuckDB over the files themselves, without
views; for the start, a Python process that imports DuckDB and opens it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import duckdb

from archiver.parquet import write_empty_segment
from archiver.sandbox import Sandbox
from archiver.sandbox_child import Job
from archiver.settings import ArchiverSettings
from shared.archive_files import open_archive, pin
from shared.archive_manifest import Manifest, RowKey, Segment, manifest_name
from shared.archive_store import LocalStore
from shared.errors import QueryLimit
from shared.ids import Epoch, Partition, StreamSeq
from tests.bench.measure import median
from tests.bench.report import Figure

NAME = "sql"
EVENTS = 10_000_000
OF_A_FILE = 1_000_000
CHANNELS = 10_000
COUNT_S_MAX, START_S_MAX = 3.0, 0.25
"""The first is meant for 100 million events."""

BY_DAY = (
    "SELECT ts::DATE AS day, count(*) AS n FROM {} WHERE kind = 'message.posted' GROUP BY day ORDER BY day"
)
FOLDED_BY_DAY = "SELECT ts::DATE AS day, count(*) AS n FROM messages GROUP BY day ORDER BY day"

_GENERATED = """
COPY (
    SELECT 'demo' AS workspace,
        'c' || lpad(least({channels} - 1, floor({channels} * pow(r1, 4)))::INT::VARCHAR, 5, '0') AS channel,
        n AS seq, CASE WHEN r2 < 0.83 THEN 'message.posted' WHEN r2 < 0.88 THEN 'message.edited'
            WHEN r2 < 0.89 THEN 'message.deleted' WHEN r2 < 0.99 THEN 'reaction.added'
            ELSE 'member.joined' END AS kind,
        'u' || floor(1000 * r3 * r3)::INT AS author,
        TIMESTAMP '2026-01-01' + to_microseconds(n * 300000) AS ts,
        CASE WHEN r2 < 0.88 THEN 'words ' || repeat(md5(n::VARCHAR), 1 + (n % 3)::INT) END AS text,
        CASE WHEN r2 >= 0.83 AND r2 < 0.99 THEN greatest(1, n - 1 - (1000 * r3)::INT) END::BIGINT AS ref,
        NULL::BIGINT AS thread, uuid() AS id, NULL::VARCHAR AS void,
        CASE WHEN r2 >= 0.89 AND r2 < 0.99 THEN '{{"emoji":"x"}}' END AS extras, n AS stream_seq
    FROM (SELECT {first} + range AS n, random() AS r1, random() AS r2, random() AS r3 FROM range({rows}))
    ORDER BY workspace, channel, seq
) TO '{path}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 16384, PARQUET_VERSION v2)
"""


async def measure(repetitions: int) -> list[Figure]:
    """Seconds of each."""
    events = int(os.environ.get("BENCH_EVENTS", EVENTS))
    with tempfile.TemporaryDirectory(prefix="parley-bench-") as scratch:
        directory = Path(scratch)
        generate(directory, events)
        plain = median(_seconds(partial(_plain, directory)) for _ in range(repetitions))
        operator = [
            median(_seconds(partial(_operator, directory, query)) for _ in range(repetitions))
            for query in QUERIES
        ]
        async with _sandbox(directory) as sandbox:
            users = [await _repeated(sandbox, directory, query, repetitions) for query in QUERIES]
            warm = [await _asked(sandbox, directory, "SELECT 1") for _ in range(repetitions)]
        cold = []
        for _ in range(repetitions):
            async with _sandbox(directory) as sandbox:
                cold.append(await _asked(sandbox, directory, "SELECT 1", spare=False))
        reference = median(_seconds(_process) for _ in range(repetitions))
    case = f"{events} events, {CHANNELS} channels"

    def figure(
        name: str, value: float, reference: float, reference_name: str, target: float | None = None
    ) -> Figure:
        return Figure(
            NAME,
            case,
            name,
            "s",
            value,
            repetitions,
            reference=reference,
            reference_name=reference_name,
            ratio=value / reference,
            target=target,
        )

    files, process = "DuckDB on the files", "Python with DuckDB"
    found = [
        figure("count by day, events, operator", operator[0], plain, files, COUNT_S_MAX),
        figure("count by day, messages folded, operator", operator[1], plain, files),
        figure("SELECT 1 in a sandbox, cold", median(cold), reference, process, START_S_MAX),
        figure("SELECT 1 in a sandbox, from the spare", median(warm), reference, process, START_S_MAX),
    ]
    for what, taken in zip(("events", "messages folded"), users, strict=True):
        if taken:  # else it needs more than a user may have
            found.append(
                figure(f"count by day, {what}, user of half the channels", median(taken), plain, files)
            )
    return found


QUERIES = (BY_DAY.format("events"), FOLDED_BY_DAY)


def generate(directory: Path, events: int) -> None:
    """An archive of one partition, in files of a million events, each sorted."""
    store = LocalStore(directory)
    store.make("p00/manifest", "p00/data")
    write_empty_segment(store)
    segments = []
    with duckdb.connect(config={"threads": 2}) as db:
        for first in range(1, events + 1, OF_A_FILE):
            rows = min(OF_A_FILE, events + 1 - first)
            last = first + rows - 1
            name = f"{first:016d}-{last:016d}.L1.p0000.00000000.parquet"
            path = directory / "p00" / "data" / name
            db.execute(_GENERATED.format(channels=CHANNELS, first=first, rows=rows, path=path))
            segments.append(_segment(name, first, last, path.stat().st_size))
    manifest = Manifest(
        partition=Partition(0),
        epoch=Epoch("bench"),
        version=1,
        writer="bench",
        written_us=0,
        hi=StreamSeq(events),
        segments=tuple(segments),
    )
    store.create(f"p00/manifest/{manifest_name(1)}", manifest.model_dump_json().encode())


def _segment(name: str, first: int, last: int, size: int) -> Segment:
    return Segment(
        path=name,
        lo=StreamSeq(first),
        hi=StreamSeq(last),
        level=1,
        part=0,
        rows=last - first + 1,
        bytes=size,
        min_key=RowKey("demo", "c00000", first),
        max_key=RowKey("demo", "c99999", last),
        min_us=0,
        max_us=0,
        sha256="",
    )


def _seconds(run: Callable[[], object]) -> float:
    began_s = time.monotonic()
    run()
    return time.monotonic() - began_s


def _plain(directory: Path) -> None:
    with duckdb.connect() as db:
        db.execute(BY_DAY.format(f"read_parquet('{directory}/p00/data/*.parquet')")).fetchall()


def _operator(directory: Path, query: str) -> None:
    with open_archive(directory) as db:
        db.execute(query).fetchall()


def _process() -> None:
    subprocess.run([sys.executable, "-c", "import duckdb; duckdb.execute('SELECT 1').fetchall()"], check=True)


@asynccontextmanager
async def _sandbox(directory: Path) -> AsyncIterator[Sandbox]:
    settings = ArchiverSettings.model_validate({"archive": str(directory), "sql_cpu_s": 1000})
    sandbox = Sandbox(settings, LocalStore(directory))
    try:
        yield sandbox
    finally:
        await sandbox.close()


async def _repeated(sandbox: Sandbox, directory: Path, query: str, repetitions: int) -> list[float]:
    try:
        return [await _asked(sandbox, directory, query) for _ in range(repetitions)]
    except QueryLimit as error:
        print(f"{query}: {error.message}", file=sys.stderr)
        return []


async def _asked(sandbox: Sandbox, directory: Path, query: str, *, spare: bool = True) -> float:
    """From the question to the end of the result; with a spare, from when one waits."""
    job: Job = {
        "query": query,
        "format": "json",
        "workspace": "demo",
        "channels": [f"c{number:05d}" for number in range(0, CHANNELS, 2)],
        "files": pin(directory).files,
        "sizes": [],
        "output_bytes": 10**9,
    }
    if spare:
        sandbox.prepare()
        assert sandbox._spare is not None
        await asyncio.shield(sandbox._spare)
    began_s = time.monotonic()
    child = await sandbox.take()
    child.ask(job)
    while (await child.frame()).kind != b"Z":
        pass
    took_s = time.monotonic() - began_s
    await child.kill()
    return took_s
