"""DuckDB, disciplined: one cursor a query, off the event loop, bounded in threads, memory, waiting and time.

An interrupt that arrives before the query has begun is lost, so it is repeated until the query has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import duckdb

from archiver.metrics import QUERY_SECONDS
from shared.errors import Unavailable

INTERRUPT_EVERY_S = 0.02
Parameters = Mapping[str, object]
Rows = list[tuple[object, ...]]
T = TypeVar("T")


class FilesGone(Exception):
    """A file of the list does not exist any more: take the newest manifest and ask once more."""


class Duck:
    """A pool of threads over one in-memory DuckDB. Each query runs on one thread of its own."""

    def __init__(
        self,
        *,
        workers: int,
        memory_limit: str,
        waiting_max: int,
        prepare: Callable[[duckdb.DuckDBPyConnection], None] = lambda _: None,
    ) -> None:
        self._db = duckdb.connect(
            config={
                "threads": 1,  # two workers with one thread each beat one with two (285 to 218 pages/s)
                "memory_limit": memory_limit,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )
        self._db.execute("SET parquet_metadata_cache = true")  # safe: no path is ever written twice
        prepare(self._db)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="duckdb")
        self._waiting_max = waiting_max
        self._running: set[Future[Any]] = set()

    async def rows(self, sql: str, parameters: Parameters, *, timeout_s: float) -> Rows:
        """All rows of one query. Raises `Unavailable` when too many wait or time is up, and `FilesGone`."""
        cursor = self._db.cursor()
        job = self._begun(partial(_fetch, cursor, sql, parameters))
        try:
            return await _outcome(job, timeout_s)
        finally:
            if not job.done():
                await _interrupt(job, cursor)

    async def read(self, function: Callable[[], T], *, timeout_s: float) -> T:
        """What a function reads from the archive's files itself, on one of the threads. Raises the same."""
        return await _outcome(self._begun(partial(_read, function)), timeout_s)

    def _begun(self, function: Callable[[], T]) -> Future[T]:
        if len(self._running) >= self._waiting_max:
            raise Unavailable("too many archive queries wait", retry_after_ms=500, limit="archive_queries")
        job = self._pool.submit(function)
        self._running.add(job)
        job.add_done_callback(self._running.discard)
        return job

    def close(self) -> None:
        """Wait for what runs, then close."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._db.close()


async def _outcome(job: Future[T], timeout_s: float) -> T:
    try:
        with QUERY_SECONDS.time():
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(asyncio.wrap_future(job))
    except TimeoutError:
        raise Unavailable(f"an archive query took longer than {timeout_s} s", retry_after_ms=1000) from None


def _read(function: Callable[[], T]) -> T:
    try:
        return function()
    except FileNotFoundError as error:
        raise FilesGone(str(error)) from error
    except OSError as error:
        raise Unavailable(f"the archive cannot be read: {error}", retry_after_ms=1000) from error


def _fetch(cursor: duckdb.DuckDBPyConnection, sql: str, parameters: Parameters) -> Rows:
    try:
        return cursor.execute(sql, dict(parameters)).fetchall()
    except (duckdb.IOException, duckdb.HTTPException) as error:
        raise FilesGone(str(error)) from error
    except duckdb.InterruptException:
        return []  # nobody waits for it any more
    finally:
        cursor.close()


async def _interrupt(job: Future[Rows], cursor: duckdb.DuckDBPyConnection) -> None:
    while not job.cancel() and not job.done():
        with contextlib.suppress(duckdb.ConnectionException):  # closed between the question and the call
            cursor.interrupt()
        await asyncio.sleep(INTERRUPT_EVERY_S)
