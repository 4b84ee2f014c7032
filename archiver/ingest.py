"""One partition's way from the log into Parquet: follow, number, fold, and commit what is due.

It begins behind the manifest's end, not where some consumer stood: there is no acknowledgement to trust.
A commit is due at so many events or bytes, or after so many seconds; at twice that, following pauses, and
the log keeps what we do not take. A disk that refuses is tried again while requests are still answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from archiver import metrics
from archiver.compactor import Compactor
from archiver.core.hot import key_of_subject
from archiver.core.manifest import Grace
from archiver.partition import PartitionArchive
from archiver.settings import ArchiverSettings
from archiver.threads import Threads
from shared.bus import Bus, StoredMessage
from shared.errors import LogRegressed, Unavailable
from shared.health import Health
from shared.ids import StreamSeq
from shared.puller import Follower
from shared.retry import delays
from shared.subjects import log_stream

PAUSE_FACTOR = 2
LINGER_S = 0.05
"""A batch costs as much as some ten events: let it hold some. Whoever asks for a position hurries it."""

_log = structlog.get_logger()


class Ingest:
    """Runs until `stop`, then commits what it has and ends."""

    def __init__(
        self,
        archive: PartitionArchive,
        bus: Bus,
        settings: ArchiverSettings,
        health: Health,
        *,
        disk: Threads,
        lookups: Threads,
        merges: Threads,
    ) -> None:
        self.archive = archive
        grace = Grace(int(settings.orphan_grace_s * 1e6), int(settings.erased_grace_s * 1e6))
        self.compactor = Compactor(archive, grace, disk=disk, merges=merges)
        self._bus = bus
        self._settings = settings
        self._health = health
        self._disk = disk
        self._lookups = lookups
        self._label = str(archive.partition)
        self._stopping = False
        self._lost: LogRegressed | None = None
        self._hot_since_s = 0.0
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._waiters: set[tuple[StreamSeq, asyncio.Future[None]]] = set()
        self._hurry: Callable[[], None] = lambda: None
        self._applied_metric = metrics.APPLIED.labels(self._label)
        self._hot_bytes_metric = metrics.HOT_BYTES.labels(self._label)

    async def run(self) -> None:
        """Raises `Fenced` or `BrokenManifest`: the process must end then.

        Raises `LogRegressed` when what the log held before is committed: it is another one now.
        """
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(self._follow_until_lost())
            compacting = tasks.create_task(self.compactor.run())
            self.compactor.look()
            await self._commit_when_due()
            following.cancel()
            self.compactor.stop()
            await compacting
            if len(self.archive.hot):  # also what came during the last commit
                await self._commit()
        if self._lost is not None:
            raise self._lost

    def stop(self) -> None:
        """Commit what is hot, then end `run`."""
        self._stopping = True
        self._wake.set()

    def lose(self, error: LogRegressed) -> None:
        """The log is not the one that is archived here: commit what is hot, then end `run` with this."""
        self._lost = self._lost or error
        self.stop()

    async def applied(self, stream_seq: StreamSeq) -> None:
        """Wait until the log is known up to a position; raises `Unavailable` after `applied_wait_s`."""
        if self.archive.hot.applied >= stream_seq:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (stream_seq, future)
        self._waiters.add(waiter)
        self._hurry()
        try:
            async with asyncio.timeout(self._settings.applied_wait_s):
                await future
        except TimeoutError:
            known = self.archive.hot.applied
            raise Unavailable(
                f"the archive is at {known}, not yet at {stream_seq}", retry_after_ms=500
            ) from None
        finally:
            self._waiters.discard(waiter)

    async def archived(self, stream_seq: StreamSeq) -> None:
        """Wait until the manifest is known that reaches a position, if any does: whoever writes knows it."""

    async def _follow_until_lost(self) -> None:
        try:
            await self._follow()
        except LogRegressed as error:
            self.lose(error)

    async def _follow(self) -> None:
        hot = self.archive.hot
        start = StreamSeq(hot.applied + 1)
        stream = log_stream(self.archive.partition)
        proof_us = self.archive.proof_us
        async with Follower(self._bus, stream, start, linger_s=LINGER_S, proof_us=proof_us) as follower:
            self._hurry = follower.hurry
            async for batch in follower:
                await self._room()
                await self._load(batch)
                is_first = not len(hot)
                if is_first:
                    self._hot_since_s = time.monotonic()
                self.archive.take(batch)
                if is_first or self._size() >= 1:
                    self._wake.set()
                self._release()

    async def _load(self, batch: Sequence[StoredMessage]) -> None:
        """Make the batch's channels resident; a commit may end meanwhile and take some away: look again."""
        hot = self.archive.hot
        keys = [key_of_subject(stored.subject) for stored in batch]
        while missing := hot.missing(keys):
            heads = await self._lookups.run(self.archive.cache.heads, missing)
            for key, head in heads.items():
                hot.load(key, head)

    async def _room(self) -> None:
        while self._size() >= PAUSE_FACTOR:
            metrics.PAUSES.labels(self._label).inc()
            self._drained.clear()
            await self._drained.wait()

    def _size(self) -> float:
        """How much is hot, as a multiple of what makes a segment due."""
        hot = self.archive.hot
        return max(len(hot) / self._settings.flush_events, hot.bytes / self._settings.flush_bytes)

    def _release(self) -> None:
        applied = self.archive.hot.applied
        self._applied_metric.set(applied)
        self._hot_bytes_metric.set(self.archive.hot.bytes)
        for stream_seq, future in self._waiters:
            if stream_seq <= applied and not future.done():
                future.set_result(None)

    async def _commit_when_due(self) -> None:
        while not self._stopping:
            if len(self.archive.hot):
                await self._commit()
            await self._due()

    async def _due(self) -> None:
        while not self._stopping and self._size() < 1:
            self._wake.clear()
            left_s = self._hot_since_s + self._settings.flush_interval_s - time.monotonic()
            hot = len(self.archive.hot) > 0
            if hot and left_s <= 0:
                return
            try:
                async with asyncio.timeout(left_s if hot else None):
                    await self._wake.wait()
            except TimeoutError:
                return

    async def _commit(self) -> None:
        """Commit what is hot, however often the disk refuses; when we stop, the log still has it."""
        batch = self.archive.hot.cut()
        for delay_s in delays(first_s=0.2, cap_s=5.0):
            began_s = time.monotonic()
            try:
                async with self.archive.publishing:
                    manifest = await self._disk.run(self.archive.write, batch)
                    self.archive.committed(batch, manifest)
            except OSError as error:
                _log.error("segment.refused", partition=self.archive.partition, error=str(error))
                metrics.FLUSH_FAILURES.labels(self._label).inc()
                self._health.set(f"archive {self._label}", False, f"the disk refuses: {error}")
                if self._stopping:
                    return
                await asyncio.sleep(delay_s)
                continue
            break
        self.compactor.look()
        self._hot_since_s = began_s
        self._health.set(f"archive {self._label}", True, f"in Parquet up to {manifest.hi}")
        self._drained.set()
        metrics.FLUSH_SECONDS.observe(time.monotonic() - began_s)
        metrics.EVENTS.labels(self._label).inc(batch.hi - batch.lo + 1)
        metrics.WATERMARK.labels(self._label).set(manifest.hi)
        metrics.SEGMENTS.labels(self._label).set(len(manifest.segments))
        self._hot_bytes_metric.set(self.archive.hot.bytes)
