"""A log that is not the one that was counted: it was restored from an older copy, or has lost its end.

Numbers that were given out mean something else from there on, so the log gets a new epoch, and what was
derived from the lost events goes: the partition's checkpoints, and the directory (written again from all
ledgers). The log is then counted from its beginning. Every step can be repeated, by anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import NamedTuple

import structlog

from sequencer import metrics
from shared.bus import Bus, BusError
from shared.ids import Epoch, Partition, StreamSeq
from shared.log_epochs import LogLook, change_epoch, holds, look
from shared.records import Position
from shared.streams import bucket_stream
from shared.subjects import CHECKPOINTS, DIRECTORY, kv_subject, log_stream

LOOKS = 3
LOOK_EVERY_S = 0.5
"""A leader that was deposed and does not know it yet answers with an old end: no verdict on one look."""

_log = structlog.get_logger()


class Claim(NamedTuple):
    """What a checkpoint says of the log: an event of this channel stands there."""

    stream_seq: StreamSeq
    subject: str


async def settled_epoch(
    bus: Bus, partition: Partition, saved: Position, newest: Claim | None, counted: Position | None
) -> tuple[Epoch, bool]:
    """The log's epoch, and whether what is saved belongs to it. Changes the epoch of a log that was replaced.

    `newest`: the checkpoint that reaches furthest; `counted`: how far this process had counted.
    """
    for attempt in range(LOOKS):
        log = await look(bus, partition)
        if saved.epoch in {"", log.epoch}:
            known = [saved]
            if counted is not None and counted.epoch == log.epoch:
                known.append(counted)
            if await _is_same(bus, log, known, newest):
                return log.epoch, True
        elif saved.epoch == log.replaced:  # changed by another sequencer, or by one that died behind it
            await _forget(bus, partition)
            return log.epoch, False
        if attempt < LOOKS - 1:
            await asyncio.sleep(LOOK_EVERY_S)
    old = saved.epoch or log.epoch
    epoch = await change_epoch(bus, partition, old)
    _log.error(
        "log.replaced",
        stream=log_stream(partition),
        ends_at=log.last,
        counted=max(one.stream_seq for one in (saved, newest, counted) if one is not None),
        old_epoch=old,
        epoch=epoch,
    )
    metrics.EPOCHS.labels(partition).inc()
    await _forget(bus, partition)
    return epoch, False


async def _is_same(bus: Bus, log: LogLook, known: list[Position], newest: Claim | None) -> bool:
    for one in known:
        if one.stream_seq and not await holds(bus, log, one.stream_seq, one.at_us):
            return False
    if newest is None or newest.stream_seq < log.first:
        return True
    if newest.stream_seq > log.last:
        return False
    stored = await bus.stored(log_stream(log.partition), newest.stream_seq)
    return stored is not None and stored.subject == newest.subject


async def _forget(bus: Bus, partition: Partition) -> None:
    await bus.api(
        f"STREAM.PURGE.{bucket_stream(CHECKPOINTS)}", {"filter": kv_subject(CHECKPOINTS, f"{partition}.>")}
    )
    with contextlib.suppress(BusError):  # gone already
        await bus.api(f"STREAM.DELETE.{bucket_stream(DIRECTORY)}", {})
