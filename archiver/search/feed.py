"""Keeping the search index at the log: from memory what is hot, from Parquet what is not any more.

There is no queue: hot events are bounded, and who falls behind them reads the segments. The index is never
waited for by ingest, so a disk that refuses it, or an index that is made anew, costs nobody a message; search
says `unavailable` meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator

import apsw
import duckdb
import structlog

from archiver import metrics
from archiver.partition import PartitionArchive
from archiver.search.backlog import backlog
from archiver.search.index import At, SearchIndex
from archiver.threads import Threads
from shared.errors import Unavailable
from shared.events import Recorded
from shared.ids import StreamSeq
from shared.retry import delays

BATCH = 20_000
LINGER_S = 0.2
"""A transaction costs as much as some fifty events: let it hold some, unless somebody searches."""

PROGRESS_EVERY_S = 10.0
PURGE_REST_S = 1.0
PURGE_REST_FACTOR = 20
"""What is erased together is purged together: after a purge of a second there is none for so many."""

BEHIND_MIN = 100_000
"""From so many events on it is a rebuild, of which operators hear."""

DAMAGE = (apsw.CorruptError, apsw.NotADBError)

_log = structlog.get_logger()
_Batches = Iterator[tuple[list[Recorded], At]]


class Feed:
    """Of one partition; `run` it, and ask `reaches` before a question to the index."""

    def __init__(
        self, archive: PartitionArchive, index: SearchIndex, threads: Threads, wait_s: float
    ) -> None:
        self._archive = archive
        self._index = index
        self._threads = threads
        self._wait_s = wait_s
        self._label = str(archive.partition)
        self._more = asyncio.Event()
        self._hurried = asyncio.Event()
        self._moved = asyncio.Condition()
        self._waiting = 0
        self._is_damaged = False
        """To be made anew: something is wrong with it, or somebody wants it so."""
        self._rebuild = ""
        self._next_purge_s = 0.0
        self._log_end = StreamSeq(0)
        """The log had so many events when it was last asked."""
        self.position = StreamSeq(0)
        """Everything up to here can be found."""
        archive.taken = self._more.set

    async def run(self) -> None:
        """Until it is cancelled; whatever the disk or the file does, it is tried again."""
        tries = delays(first_s=0.2, cap_s=5.0)
        while True:
            began_s = time.monotonic()
            try:
                if self._is_damaged:
                    await self._begin_anew()
                    self._is_damaged = False
                await self._follow()
            except DAMAGE as error:
                self._is_damaged = True
                _log.error("search.index_damaged", partition=self._label, error=str(error))
                metrics.INDEX_FAILURES.labels(self._label).inc()
            except (
                FileNotFoundError,
                duckdb.IOException,
            ):  # a segment was replaced: there is a newer manifest
                _log.info("search.segments_replaced", partition=self._label)
            except Exception as error:  # noqa: BLE001  # the boundary of a task: an index harms no archive
                _log.error("search.index_refused", partition=self._label, error=repr(error))
                metrics.INDEX_FAILURES.labels(self._label).inc()
            if time.monotonic() - began_s > self._wait_s:
                tries = delays(first_s=0.2, cap_s=5.0)
            await asyncio.sleep(next(tries))

    @property
    def applied(self) -> StreamSeq:
        """Up to where the log is known here."""
        return self._archive.hot.applied

    def rebuild(self, run: str) -> StreamSeq:
        """Make the index anew, once for a name; up to where the new one has got."""
        if run != self._rebuild:
            self._rebuild = run
            self._is_damaged = True
            self._more.set()
            _log.info("search.rebuild_wanted", partition=self._label)
        return StreamSeq(0) if self._is_damaged else self.position

    def distrust(self) -> None:
        """A question has met damage: begin anew."""
        self._is_damaged = True
        self._more.set()

    async def reaches(self, stream_seq: StreamSeq) -> None:
        """Wait until the log, which ends there or later, can be found up to there.

        Raises `Unavailable` after `wait_s`.
        """
        if self.position >= stream_seq:
            return
        self._log_end = max(self._log_end, stream_seq)
        self._waiting += 1
        self._hurried.set()
        self._more.set()
        try:
            async with asyncio.timeout(self._wait_s), self._moved:
                await self._moved.wait_for(lambda: self.position >= stream_seq)
        except TimeoutError:
            percent = 100 * self.position // max(1, stream_seq)
            raise Unavailable(
                f"the search index is being brought up to date: {percent} %", retry_after_ms=2000
            ) from None
        finally:
            self._waiting -= 1

    async def _follow(self) -> None:
        at = await self._threads.run(self._index.at)
        self._log_end = StreamSeq(0)
        await self._prove(at)
        hot = self._archive.hot
        while not self._is_damaged:
            if self._index.is_purge_due and time.monotonic() >= self._next_purge_s:
                await self._purge()
            if self._archive.manifest.hi > self.position:
                await self._catch_up()
            elif hot.applied > self.position:
                await self._gather()
                if self._archive.manifest.hi <= self.position:
                    found = [it.recorded for it in hot.behind(self.position, BATCH)]
                    await self._record(found, At(found[-1].stream_seq, found[-1].at_us))
            else:
                self._more.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._until_purge_s()):
                        await self._more.wait()

    def _until_purge_s(self) -> float | None:
        return max(0.0, self._next_purge_s - time.monotonic()) if self._index.is_purge_due else None

    async def _purge(self) -> None:
        """Nothing is taken in meanwhile; what is there can be found."""
        began_s = time.monotonic()
        try:
            await self._threads.run(self._index.purge)
        except apsw.BusyError as error:
            _log.warning("search.purge_refused", partition=self._label, error=str(error))
        took_s = time.monotonic() - began_s
        metrics.INDEX_PURGE_SECONDS.observe(took_s)
        self._next_purge_s = time.monotonic() + max(PURGE_REST_S, PURGE_REST_FACTOR * took_s)
        _log.info("search.purged", partition=self._label, s=round(took_s, 2), due=self._index.is_purge_due)

    async def _prove(self, at: At) -> None:
        """What the index has beyond Parquet must be what the log has there: it may have lost its end."""
        hot = self._archive.hot
        while at.stream_seq > hot.applied and not 0 < self._log_end < at.stream_seq:
            self._more.clear()
            await self._more.wait()
        if at.stream_seq > hot.applied:
            _log.error("search.log_shorter", partition=self._label)
            await self._begin_anew()
            return
        if at.stream_seq > self._archive.manifest.hi:
            newest = hot.behind(StreamSeq(at.stream_seq - 1), 1)[0].recorded
            if newest.at_us != at.at_us:
                _log.error("search.log_differs", partition=self._label)
                await self._begin_anew()
                return
        await self._move(at.stream_seq)

    async def _begin_anew(self) -> None:
        await self._threads.run(self._index.begin_anew)
        await self._move(StreamSeq(0))

    async def _gather(self) -> None:
        """Let a batch grow for a moment, unless somebody waits for it."""
        if self._waiting or self._archive.hot.applied - self.position >= BATCH:
            return
        self._hurried.clear()
        try:
            async with asyncio.timeout(LINGER_S):
                await self._hurried.wait()
        except TimeoutError:
            return

    async def _catch_up(self) -> None:
        """From the segments of the manifest as it is now."""
        manifest, began, began_s = self._archive.manifest, self.position, time.monotonic()
        behind = manifest.hi - began
        told_s = began_s
        if behind >= BEHIND_MIN:
            _log.info("search.rebuilding", partition=self._label, events=behind)
        batches = backlog(self._archive.files, manifest, began, BATCH)
        while (batch := await self._threads.run(next, batches, None)) is not None:
            if not await self._record(*batch) or self._is_damaged:
                return
            if behind >= BEHIND_MIN and time.monotonic() - told_s >= PROGRESS_EVERY_S:
                told_s = time.monotonic()
                done = self.position - began
                _log.info(
                    "search.rebuilding",
                    partition=self._label,
                    percent=round(100 * done / behind, 1),
                    left_s=round((behind - done) * (told_s - began_s) / max(1, done)),
                )
        if behind >= BEHIND_MIN:
            _log.info(
                "search.rebuilt", partition=self._label, events=behind, s=round(time.monotonic() - began_s, 1)
            )

    async def _record(self, events: list[Recorded], at: At) -> bool:
        """False if another archiver has gone on meanwhile: then its position is ours."""
        began_s = time.monotonic()
        before = self.position
        ours = await self._threads.run(self._index.record, before, events, at)
        if not ours:
            at = await self._threads.run(self._index.at)
        metrics.INDEX_SECONDS.observe(time.monotonic() - began_s)
        metrics.INDEXED.labels(self._label).inc(at.stream_seq - before if ours else 0)
        await self._move(at.stream_seq)
        return ours

    async def _move(self, position: StreamSeq) -> None:
        self.position = position
        metrics.SEARCHABLE.labels(self._label).set(position)
        async with self._moved:
            self._moved.notify_all()
