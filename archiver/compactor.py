"""Merges a partition's runs whenever there are too many, beside its ingest, and lets go of what was replaced.

A merge reads and writes segments that nobody else touches, so it may take as long as it likes; only its last
step, the manifest in which the merged run stands for its inputs, takes its turn among the commits. A process
that dies before that step leaves orphans. The inputs stay until no reader of an older manifest can be left.
"""

from __future__ import annotations

import asyncio
import threading
import time

import structlog

from archiver import metrics
from archiver.core.compaction import Run, due, runs_of
from archiver.merge import Stopped
from archiver.partition import PartitionArchive
from archiver.threads import Threads
from shared.archive_manifest import Segment
from shared.retry import delays

_log = structlog.get_logger()


class Compactor:
    """Of one partition. `merges` is shared by all of a process: one merge at a time."""

    def __init__(self, archive: PartitionArchive, *, disk: Threads, merges: Threads) -> None:
        self._archive = archive
        self._disk = disk
        self._merges = merges
        self._wake = asyncio.Event()
        self._stopped = threading.Event()
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
            await self._wake.wait()
            self._wake.clear()
            try:
                while not self._stopped.is_set() and (runs := due(self._archive.manifest.segments)):
                    await self._merge(runs)
                    waits = delays(first_s=0.5, cap_s=60.0)
            except Stopped:
                return
            except OSError as error:  # the inputs are all there: nothing is lost by waiting
                _log.error("merge.refused", partition=self._archive.partition, error=str(error))
                metrics.MERGE_FAILURES.labels(self._label).inc()
                asyncio.get_running_loop().call_later(next(waits), self._wake.set)

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
