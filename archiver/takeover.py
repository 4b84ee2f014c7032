"""A reader's way with a partition: it follows the log as the writer does, and takes over what that commits.

The newest manifest is looked for every so often. Once the log is followed up to its end it takes the place of
the one before; until then following goes on, and with it the bound of what is hot. If that bound comes first,
the writer is too far ahead for memory, and `run` ends: whoever opens the archive again begins behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

import structlog

from archiver import metrics
from archiver.core.compaction import runs_of
from archiver.erasing import Name
from archiver.ingest import PAUSE_FACTOR, Ingest
from archiver.replica import PartitionReplica
from archiver.settings import ArchiverSettings
from archiver.threads import Threads
from shared.archive_manifest import Manifest
from shared.bus import Bus
from shared.errors import LogRegressed, Unavailable
from shared.health import Health
from shared.ids import StreamSeq

LISTED_EVERY = 30
"""So many looks ask for the next version by name until one lists all that there are."""

FULL_POLL_S = 0.2
"""Between two looks while memory is full: the writer has much, and commits soon."""

_log = structlog.get_logger()


class Takeover(Ingest):
    """In place of `Ingest` for a partition that somebody else writes: nothing is committed."""

    def __init__(
        self,
        archive: PartitionReplica,
        bus: Bus,
        settings: ArchiverSettings,
        health: Health,
        *,
        disk: Threads,
        lookups: Threads,
        merges: Threads,
    ) -> None:
        super().__init__(archive, bus, settings, health, disk=disk, lookups=lookups, merges=merges)
        self._replica = archive
        self._merges = merges
        self._looks = 0
        self._is_refused = False
        self._is_behind = False
        self._asked = asyncio.Event()
        self._moved = asyncio.Condition()
        self.answers = False
        """Whether somebody has begun to answer for it."""

    async def run(self) -> None:
        """Until `stop`. Raises `BrokenManifest`: the process must end then.

        Raises `LogRegressed` when log or archive are others now, and `Unavailable` when memory cannot reach
        the archive's end: then the archive has to be opened again.
        """
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(self._follow_until_lost())
            self._tell()
            while not (self._stopping or self._is_behind):
                if not await self._look():
                    await self._pause()
            following.cancel()
        if self._lost is not None or self._is_behind:
            metrics.REOPENED.labels(self._label).inc()
        if self._lost is not None:
            raise self._lost
        if self._is_behind:
            raise Unavailable(f"the archive is ahead of what memory holds of {self.archive.partition}")

    def stop(self) -> None:
        """End `run`; what is hot the log still has."""
        super().stop()
        self._asked.set()

    async def archived(self, stream_seq: StreamSeq) -> None:
        """Wait until the manifest reaches a position, looking for a newer one now.

        Raises `Unavailable` after `applied_wait_s` if the archive does not end there either.
        """
        if self.archive.manifest.hi >= stream_seq:
            return
        self._asked.set()
        try:
            async with asyncio.timeout(self._settings.applied_wait_s), self._moved:
                await self._moved.wait_for(lambda: self.archive.manifest.hi >= stream_seq)
        except TimeoutError:
            raise Unavailable(
                f"the archive is at {self.archive.manifest.hi}, not yet at {stream_seq}", retry_after_ms=500
            ) from None

    async def _look(self) -> bool:
        """Take over what is newer; whether something was."""
        self._looks += 1
        listed = self._looks % LISTED_EVERY == 0 or self._is_refused
        try:
            manifest = await self._disk.run(self._newer, listed)
            if manifest is None or not await self._followed(manifest.hi):
                self._accepted()
                return False
            names = await self._erased_names(manifest)
        except OSError as error:
            _log.warning("archive.refused", partition=self.archive.partition, error=str(error))
            metrics.READ_FAILURES.labels(self._label).inc()
            self._health.set(f"archive {self._label}", False, f"the store refuses: {error}")
            self._is_refused = True
            return False
        except LogRegressed as error:
            self.lose(error)
            return False
        if names is None:
            return False
        await self._take_over(manifest, names)
        return True

    def _newer(self, listed: bool) -> Manifest | None:
        return self._replica.newer(listed=listed)

    async def _erased_names(self, manifest: Manifest) -> list[Name] | None:
        """None if a segment was replaced before it was read: there is a newer manifest."""
        try:
            return await self._merges.run(self._replica.erased_names, manifest)
        except FileNotFoundError as error:
            _log.info("archive.segments_replaced", partition=self.archive.partition, error=str(error))
            return None

    async def _followed(self, stream_seq: StreamSeq) -> bool:
        """Whether the log is known up to there; False if it cannot be, or if we stop."""
        while self.archive.hot.applied < stream_seq and not self._stopping:
            if self._size() >= PAUSE_FACTOR:
                self._is_behind = True
                return False
            with contextlib.suppress(Unavailable):
                await self.applied(stream_seq)
        return not self._stopping

    async def _take_over(self, manifest: Manifest, names: list[Name]) -> None:
        began_s, archive = time.monotonic(), self._replica
        hot = archive.hot.behind(archive.manifest.hi, manifest.hi - archive.manifest.hi)
        batch = await self._disk.run(archive.take_in, manifest, names, hot)
        archive.taken_over(manifest, batch)
        self._drained.set()
        self._accepted()
        self._tell()
        metrics.TAKEOVER_SECONDS.observe(time.monotonic() - began_s)
        async with self._moved:
            self._moved.notify_all()

    def _accepted(self) -> None:
        if self._is_refused:
            self._is_refused = False
            self._health.set(f"archive {self._label}", self.answers, "following")

    def _tell(self) -> None:
        manifest = self.archive.manifest
        metrics.WATERMARK.labels(self._label).set(manifest.hi)
        metrics.SEGMENTS.labels(self._label).set(len(manifest.segments))
        metrics.RUNS.labels(self._label).set(len(runs_of(manifest.segments)))
        self._hot_bytes_metric.set(self.archive.hot.bytes)

    async def _pause(self) -> None:
        """Until the next look is due, or somebody waits for one."""
        wait_s = self._settings.reader_poll_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(wait_s, FULL_POLL_S) if self._size() >= 1 else wait_s):
                await self._asked.wait()
        self._asked.clear()
