"""Replaces a partition's segments beside its ingest: erases texts, merges runs, lets go of what was replaced.

What is new is written into segments that nobody else touches, so it may take as long as it likes; only the
last step, the manifest in which they stand for the old ones, takes its turn among the commits. A process that
dies before that step leaves orphans. What was replaced stays until no reader of an older manifest can be
left. All of it is one task, so that nothing is swept that is still to be published.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import structlog

from archiver import metrics
from archiver.core.compaction import RUNS_MAX, Run, due, runs_of
from archiver.core.manifest import Grace
from archiver.merge import Stopped
from archiver.partition import PartitionArchive
from archiver.threads import Threads
from shared.archive_manifest import Segment
from shared.erasure import Erasures
from shared.retry import delays

SWEEP_EVERY_S = 60.0
CROWD = 2 * RUNS_MAX
"""With more runs than this, as an interrupted archiver may find them, merging comes first: an erasure looks
into every run."""

_log = structlog.get_logger()


class Compactor:
    """Of one partition. `merges` is shared by all of a process: one merge at a time."""

    def __init__(self, archive: PartitionArchive, grace: Grace, *, disk: Threads, merges: Threads) -> None:
        self._archive = archive
        self._grace = grace
        self._disk = disk
        self._merges = merges
        self._wake = asyncio.Event()
        self._stopped = threading.Event()
        self._next_sweep_s = 0.0
        self._label = str(archive.partition)

    def look(self) -> None:
        """The manifest has changed."""
        metrics.RUNS.labels(self._label).set(len(runs_of(self._archive.manifest.segments)))
        self._wake.set()

    def stop(self) -> None:
        """End `run`: a merge is given up before its next part, one that is being published is published."""
        self._stopped.set()
        self._wake.set()

    async def run(self) -> None:
        """Until `stop`. Raises `Fenced` and `BrokenManifest`: the process must end then."""
        waits = delays(first_s=0.5, cap_s=60.0)
        while not self._stopped.is_set():
            try:
                if await self._next():
                    waits = delays(first_s=0.5, cap_s=60.0)
            except Stopped:
                return
            except OSError as error:  # whatever was to be replaced is all there: nothing is lost by waiting
                _log.error("compaction.refused", partition=self._archive.partition, error=str(error))
                metrics.MERGE_FAILURES.labels(self._label).inc()
                await self._pause(next(waits))

    async def _next(self) -> bool:
        """Do one of each that is due, so that none waits for ever, or wait; whether one was done."""
        segments = self._archive.manifest.segments
        runs = due(segments)
        is_crowded = bool(runs) and len(runs_of(segments)) > CROWD
        erasing = bool(self._pending()) and not is_crowded
        sweeping = time.monotonic() >= self._next_sweep_s
        if erasing:
            await self._erase()
            runs = due(self._archive.manifest.segments)
        if runs:
            await self._merge(runs)
        if sweeping:
            await self._sweep()
        if not (erasing or runs or sweeping):
            await self._pause(self._next_sweep_s - time.monotonic())
            return False
        return True

    def _pending(self) -> Erasures:
        """The erasures that are in Parquet themselves, and not carried out there."""
        hi = self._archive.manifest.hi
        return Erasures(erasure for erasure in self._archive.erasures if erasure.stream_seq <= hi)

    async def _erase(self) -> None:
        erasures = self._pending()
        found = await self._merges.run(self._archive.erase, erasures)
        async with self._archive.publishing:
            erased = max(erasure.stream_seq for erasure in erasures)
            self._archive.erased(await self._disk.run(self._archive.publish_erasures, erased, found))
        metrics.ERASURES.inc(len(erasures))
        self._next_sweep_s = min(self._next_sweep_s, time.monotonic() + self._grace.erased_us / 1e6)
        _log.info(
            "texts.erased",
            partition=self._archive.partition,
            erasures=len(erasures),
            segments=len(found),
            events=sum(len(emptied.names) for emptied in found.values()),
        )

    async def _merge(self, runs: list[Run]) -> None:
        began_s = time.monotonic()
        outputs = await self._merges.run(self._archive.merge, runs, self._stopped.is_set)
        inputs: list[Segment] = [part for run in runs for part in run.parts]
        async with self._archive.publishing:
            self._archive.manifest = await self._disk.run(self._archive.publish_merge, inputs, outputs)
        rows = sum(run.rows for run in runs)
        metrics.MERGE_SECONDS.observe(time.monotonic() - began_s)
        metrics.MERGED_ROWS.inc(rows)
        metrics.RUNS.labels(self._label).set(len(runs_of(self._archive.manifest.segments)))
        _log.info("runs.merged", partition=self._archive.partition, runs=len(runs), events=rows)

    async def _sweep(self) -> None:
        async with self._archive.publishing:
            self._archive.manifest = await self._disk.run(self._archive.sweep, self._grace)
        self._next_sweep_s = time.monotonic() + SWEEP_EVERY_S

    async def _pause(self, delay_s: float) -> None:
        """Until something changes, or for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._wake.wait()
        self._wake.clear()
