"""Logs that are trimmed as retention would: what is in Parquet and in the checkpoints goes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from archiver.settings import ArchiverSettings
from shared.bus import Bus
from shared.ids import Partition
from shared.settings import CommonSettings
from shared.subjects import log_stream
from tests.support.archive import archiver_settings, running, status
from tests.support.sequencing import PARTITIONS, last_seq, position, quick, sequencing
from tests.support.waiting import eventually


def committing(settings: CommonSettings, folder: Path) -> ArchiverSettings:
    """Settings of an archiver that commits at once."""
    return archiver_settings(settings, folder / "archive", flush_interval_s=0.1)


@contextlib.asynccontextmanager
async def numbering(settings: CommonSettings) -> AsyncIterator[None]:
    """A sequencer in this process that saves at once and tells nobody about heads."""
    async with sequencing(quick(settings).model_copy(update={"heads_interval_s": 60.0})):
        yield


@contextlib.asynccontextmanager
async def remembering(bus: Bus, settings: CommonSettings, folder: Path) -> AsyncIterator[None]:
    """Such a sequencer and an archiver, both in this process."""
    async with numbering(settings), running(bus, committing(settings, folder)):
        yield


async def trim(bus: Bus, *, keep: int = 0) -> None:
    """Remove all but the newest `keep` events of each log, once services have taken them in."""
    for number in range(PARTITIONS):
        end = await last_seq(bus, log_stream(Partition(number)))
        await eventually(lambda number=number, end=end: _is_remembered(bus, number, end), within_s=60)  # type: ignore[misc]
        await bus.api(f"STREAM.PURGE.{log_stream(Partition(number))}", {"seq": max(1, end + 1 - keep)})


async def _is_remembered(bus: Bus, number: int, end: int) -> bool:
    saved, archived = await position(bus, number), await status(bus, Partition(number))
    reached = (saved.stream_seq if saved else 0, archived.watermark if archived else 0)
    return min(reached) >= end
