"""Trims a partition's log at its front: what is in Parquet, in the checkpoints, and old enough.

Feeds, resumes and late ids go on across the front: what has left the log they ask of the archive. What is
young stays whatever happens, for JetStream rebuilds its duplicate window from what it stores.
"""

from __future__ import annotations

import asyncio

import structlog

from archiver import metrics
from archiver.partition import PartitionArchive
from shared.bus import Bus, BusError
from shared.clock import now_us
from shared.errors import Unavailable
from shared.ids import StreamSeq
from shared.log_epochs import saved_position
from shared.subjects import log_stream

TRIM_EVERY_S = 60.0

_log = structlog.get_logger()


class Trimmer:
    """Of one partition."""

    def __init__(self, bus: Bus, archive: PartitionArchive, keep_s: float) -> None:
        self._bus = bus
        self._archive = archive
        self._keep_s = keep_s
        self._stream = log_stream(archive.partition)

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self.trim()
            except (Unavailable, BusError) as error:  # the log is only longer than it need be
                _log.warning("trim.failed", partition=self._archive.partition, error=error.message)
            await asyncio.sleep(TRIM_EVERY_S)

    async def trim(self) -> StreamSeq:
        """Remove what may go now; the last sequence that has. Raises `Unavailable` and `BusError`."""
        window = await self._bus.window(self._stream)
        upto = await self._upto(self._keep_now_s(window.duplicates_s))
        if upto < max(window.first, 1) or not await self._is_archived_log():
            return StreamSeq(window.first - 1)
        await self._bus.api(f"STREAM.PURGE.{self._stream}", {"seq": upto + 1})
        metrics.TRIMMED.labels(str(self._archive.partition)).set(upto)
        _log.info("log.trimmed", partition=self._archive.partition, events=upto + 1 - max(window.first, 1))
        return upto

    def _keep_now_s(self, window_s: float) -> float:
        """While the log may hold a text that is erased, no longer than deduplication needs."""
        since_s = now_us() / 1e6 - self._archive.erased_us / 1e6
        return min(self._keep_s, 2 * window_s) if since_s < self._keep_s else self._keep_s

    async def _upto(self, keep_s: float) -> StreamSeq:
        """The last sequence that nobody needs in the log."""
        known = min(self._archive.manifest.hi, await self._checkpointed())
        since_us = now_us() - int(keep_s * 1e6)
        young = await self._bus.first_since(self._stream, since_us)
        return StreamSeq(known if young is None else min(known, young - 1))

    async def _checkpointed(self) -> StreamSeq:
        """How far the sequencer is: where its checkpoints end, it reads on."""
        position = (await saved_position(self._bus, self._archive.partition)).position
        if position is None or position.epoch != self._archive.epoch:
            return StreamSeq(0)
        return position.stream_seq

    async def _is_archived_log(self) -> bool:
        """Whether the log still is the one that was archived: a restored one may look like it."""
        hi, proof_us = self._archive.manifest.hi, self._archive.proof_us
        stored = await self._bus.stored_at_leader(self._stream, hi)
        return stored is not None and stored.at_us == proof_us
