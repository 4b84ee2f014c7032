"""`sql`: a count by day over a large archive, as the operator and in a user's sandbox, and a sandbox's start.

The archive is the one of `history`: 10 million events, or as many as `BENCH_EVENTS` says. The user may read
half of the channels. References: the same count by DuckDB over the files themselves, without
views; for the start, a Python process that imports DuckDB and opens it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import duckdb

from archiver.sandbox import Sandbox
from archiver.sandbox_child import Job
from archiver.settings import ArchiverSettings
from shared.archive_files import open_archive, pin
from shared.archive_store import LocalStore
from shared.errors import QueryLimit
from tests.bench.generated import channels_of, generated
from tests.bench.measure import median
from tests.bench.report import Figure

NAME = "sql"
EVENTS = 10_000_000
COUNT_S_MAX, START_S_MAX = 3.0, 0.25
"""The first is meant for 100 million events."""

BY_DAY = (
    "SELECT ts::DATE AS day, count(*) AS n FROM {} WHERE kind = 'message.posted' GROUP BY day ORDER BY day"
)
FOLDED_BY_DAY = "SELECT ts::DATE AS day, count(*) AS n FROM messages GROUP BY day ORDER BY day"


async def measure(repetitions: int) -> list[Figure]:
    """Seconds of each."""
    events = int(os.environ.get("BENCH_EVENTS", EVENTS))
    with generated(events) as (directory, _):
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
    case = f"{events} events, {events // 1000} channels"

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
        "channels": list(channels_of(directory / "cache"))[::2],
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
