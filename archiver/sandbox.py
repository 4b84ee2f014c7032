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
from archiver.settings import ArchiverSettings
from shared.archive_store import LocalStore, Store
from shared.errors import BadRequest, ParleyError, QueryLimit, Unavailable

START_S = 10.0
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

    async def _started(self) -> Child:
        child = Child(await self._spawn())
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

    async def _spawn(self) -> asyncio.subprocess.Process:
        settings = self._settings
        if not isinstance(self._store, LocalStore):  # a key to the bucket would have to go in there
            raise Unavailable("SQL of users is answered where the archive is in a directory")
        setup: Setup = {
            "archive": self._store.location,
            "parent": os.getpid(),
            "memory_bytes": settings.sql_memory_bytes,
            "cpu_s": settings.sql_cpu_s,
            "threads": settings.sql_threads,
            "unconfined": settings.sql_unconfined,
        }
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-s", "-m", MODULE, json.dumps(setup)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},  # no secrets of ours
            cwd="/",
            limit=FRAME_BYTES_MAX,
        )


class Child:
    """One process, one query."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._reading = asyncio.Lock()
        self.timed_out = False

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process.returncode is None

    def ask(self, job: Job) -> None:
        """Give it its query."""
        assert self._process.stdin is not None
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
        self.timed_out = True
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

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _death(self, code: int) -> ParleyError:
        if self.timed_out:
            return QueryLimit("the query takes longer than it may", limit="time")
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
