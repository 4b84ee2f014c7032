"""Processes that run users' SQL: one for each query, started ahead of it, killed when time is up.

From the first query on a spare one waits, its walls raised and DuckDB loaded, because that takes 0.2 s. What
it writes is taken piece by piece when somebody asks: it blocks on its pipe until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import structlog

from archiver.sandbox_child import PIECE_BYTES, Job, Setup
from archiver.sandbox_files import address
from archiver.sandbox_reads import Reads
from archiver.settings import ArchiverSettings
from archiver.threads import Threads
from shared.archive_store import Store
from shared.errors import BadRequest, ParleyError, QueryLimit, Unavailable

START_S = 10.0
READ_WORKERS = 8
"""Pieces of a bucket's files that are fetched at once, for all queries."""

FRAME_BYTES_MAX = PIECE_BYTES + 64 * 1024
MODULE = "archiver.sandbox_child"
ROOT = Path(__file__).parents[1]

_STARVED = frozenset({signal.SIGABRT, signal.SIGSEGV, signal.SIGKILL})
"""How a process ends that could not have memory where nobody expects that, or that the system killed."""

_log = structlog.get_logger()


class Frame(NamedTuple):
    """What the child says: `R`, `D`, `E` or `Z`, and a body."""

    kind: bytes
    body: bytes


class Sandbox:
    """Hands out processes, each for one query."""

    def __init__(self, settings: ArchiverSettings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._threads = Threads("sql-read", READ_WORKERS)
        self._spare: asyncio.Task[Child] | None = None
        self._closed = False

    async def take(self) -> Child:
        """A process that is ready. Raises `Unavailable` if none can be had, and says why."""
        spare, self._spare = self._spare, None
        try:
            while True:
                child = await (spare or self._prepare())
                spare = None
                if child.running:
                    return child
                await child.kill()  # somebody has ended it while it waited
        finally:
            self.prepare()

    def prepare(self) -> None:
        """Begin to start a spare."""
        if self._spare is None and not self._closed:
            self._spare = self._prepare()

    def _prepare(self) -> asyncio.Task[Child]:
        return asyncio.create_task(self._started())

    async def close(self) -> None:
        """End the spare."""
        self._closed = True
        spare, self._spare = self._spare, None
        if spare is not None:
            with contextlib.suppress(ParleyError):
                await (await spare).kill()
        await asyncio.to_thread(self._threads.close)

    async def _started(self) -> Child:
        child = await self._spawn()
        try:
            async with asyncio.timeout(START_S):
                frame = await child.frame()
        except TimeoutError:
            await child.kill()
            raise Unavailable("a process for SQL did not start in time", retry_after_ms=1000) from None
        except BaseException:
            await child.kill()
            raise
        assert frame.kind == b"R", frame
        return child

    async def _spawn(self) -> Child:
        """In a directory it opens the files itself; of a bucket, whose key it must not have, it asks us."""
        settings = self._settings
        threads, reads = settings.sql_threads, None
        if self._store.is_far:
            threads = max(threads, settings.sql_reads)
            bounds = {"links": settings.sql_reads, "bytes_max": settings.sql_read_bytes}
            reads = Reads(self._store, self._threads, **bounds)
        links = reads.descriptors if reads else []
        setup: Setup = {
            "archive": None if reads else self._store.location,
            "links": links,
            "parent": os.getpid(),
            "memory_bytes": settings.sql_memory_bytes,
            "cpu_s": settings.sql_cpu_s,
            "threads": threads,
            "unconfined": settings.sql_unconfined,
        }
        try:
            return Child(await _begun(setup), reads)
        except BaseException:
            if reads is not None:
                await reads.end()
            raise
        finally:
            if reads is not None:
                reads.handed_over()


async def _begun(setup: Setup) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-s", "-m", MODULE, json.dumps(setup)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},  # no secrets of ours
        cwd="/",
        pass_fds=setup["links"],
        limit=FRAME_BYTES_MAX,
    )


class Child:
    """One process, one query."""

    def __init__(self, process: asyncio.subprocess.Process, reads: Reads | None = None) -> None:
        self._process = process
        self._reads = reads
        self._reading = asyncio.Lock()
        self._over: QueryLimit | None = None

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process.returncode is None

    def ask(self, job: Job) -> None:
        """Give it its query."""
        assert self._process.stdin is not None
        if self._reads is not None:
            self._reads.begin(job["files"], job["sizes"], self._read_enough)
            job = {**job, "files": [address(number) for number in range(len(job["files"]))]}
        self._process.stdin.write(json.dumps(job).encode() + b"\n")

    async def frame(self) -> Frame:
        """The next one, `D` or the last `Z`. Raises what it failed with."""
        assert self._process.stdout is not None
        try:
            async with self._reading:
                head = await self._process.stdout.readexactly(5)
                body = await self._process.stdout.readexactly(int.from_bytes(head[1:], "big"))
        except asyncio.IncompleteReadError:
            raise self._death(await self._process.wait()) from None
        if head[:1] == b"E":
            raise _failure(body)
        return Frame(head[:1], body)

    def expire(self) -> None:
        """Time is up."""
        self._over = QueryLimit("the query takes longer than it may", limit="time")
        self._end()

    def _read_enough(self) -> None:
        self._over = QueryLimit("the query reads more of the archive than it may", limit="reads")
        self._end()

    async def kill(self) -> None:
        """End it, whatever it does, and wait until it is gone."""
        self._end()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        async with self._reading:  # asyncio sees no end before all that was written is read
            while await self._process.stdout.read(FRAME_BYTES_MAX):
                pass
        await self._process.wait()
        with contextlib.suppress(ConnectionError):
            await self._process.stdin.wait_closed()
        if self._reads is not None:
            await self._reads.end()

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _death(self, code: int) -> ParleyError:
        if self._over is not None:
            return self._over
        if code == -signal.SIGXCPU:
            return QueryLimit("the query needs more processor time than it may have", limit="cpu")
        if -code in _STARVED:
            return QueryLimit("the query needs more memory than it may have", limit="memory")
        _log.error("sandbox.died", code=code)
        return Unavailable("the process that ran the query died", retry_after_ms=1000)


def _failure(body: bytes) -> ParleyError:
    said = json.loads(body)
    if said["error"] == QueryLimit.code:
        return QueryLimit(said["message"], limit=said["limit"])
    kind = Unavailable if said["error"] == Unavailable.code else BadRequest
    return kind(said["message"])
