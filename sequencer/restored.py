"""A log that is not the one that was counted: it was restored from an older copy, or has lost its end.

Numbers that were given out mean something else from there on, so the log gets a new epoch, and what was
derived from the lost events goes: the partition's checkpoints, and the directory (written again from all
ledgers). The log is then counted from its beginning. Every step can be repeated, by anybody:

1. begin the epoch: a position at the log's beginning, which whoever still counts in the old one runs into;
2. purge the old checkpoints, and delete the directory; 3. label the stream. A label that is not the
position's epoch tells the next start that 2 and 3 are still to be done.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import structlog

from sequencer import metrics
from sequencer.bucket import Value
from shared.bus import Bus, BusError
from shared.errors import LogRegressed, OutcomeUnknown, Unavailable, WrongLastSequence
from shared.ids import Epoch, Partition, StreamSeq
from shared.log_epochs import (
    LogLook,
    Verdict,
    begin_epoch,
    forget_checkpoints,
    holds,
    judge,
    label,
    saved_position,
)
from shared.records import Position
from shared.subjects import DIRECTORY, bucket_stream, log_stream

RIVALS_MAX = 5
_log = structlog.get_logger()


class Claim(NamedTuple):
    """What a checkpoint says of the log: an event of this channel stands there, in this epoch."""

    stream_seq: StreamSeq
    subject: str
    epoch: Epoch


class Settled(NamedTuple):
    """The epoch of a log, whether what is saved belongs to it, and the epochs before."""

    epoch: Epoch
    is_ours: bool
    replaced: tuple[Epoch, ...]


async def settled_epoch(
    bus: Bus, partition: Partition, newest: Claim | None, counted: Position | None
) -> Settled:
    """The log's epoch, which changes here if the log was replaced.

    `newest`: the checkpoint that reaches furthest; `counted`: how far this process had counted.
    Raises `LogRegressed` if the log was replaced and does not begin with its first event.
    """

    async def knows(log: LogLook, epoch: Epoch) -> bool:
        return await _has_counted(bus, log, epoch, counted) and await _has_claimed(bus, log, epoch, newest)

    for _ in range(RIVALS_MAX):
        verdict = await judge(bus, partition, knows)
        if verdict.is_held:
            if verdict.log.label != verdict.epoch:
                await _finish(bus, verdict.log, verdict.epoch, verdict.replaced)
            return Settled(verdict.epoch, True, verdict.replaced)
        # Somebody still counts in the old epoch, or nobody knows whether the new one has begun: judge again.
        with contextlib.suppress(WrongLastSequence, OutcomeUnknown):
            return await _replace(bus, verdict, counted)
    raise Unavailable(f"{log_stream(partition)}: its position keeps changing", retry_after_ms=1000)


async def confirm(bus: Bus, value: Value) -> None:
    """Raises `LogRegressed` if a value was derived in an epoch that is over; `Unavailable` or `BusError`."""
    position = (await saved_position(bus, value.partition)).position
    if position is not None and position.epoch not in {"", value.epoch}:
        raise LogRegressed(f"{log_stream(value.partition)} has a new epoch: {position.epoch}")


async def _replace(bus: Bus, verdict: Verdict, counted: Position | None) -> Settled:
    log, old = verdict.log, verdict.epoch
    epoch = await begin_epoch(bus, verdict)
    _log.error(
        "log.replaced",
        stream=log_stream(log.partition),
        ends_at=log.last,
        saved=verdict.saved.position.stream_seq if verdict.saved.position else 0,
        counted=counted.stream_seq if counted else 0,
        old_epoch=old,
        epoch=epoch,
    )
    metrics.EPOCHS.labels(log.partition).inc()
    position = (await saved_position(bus, log.partition)).position
    replaced = position.replaced if position is not None else (old,)
    await _finish(bus, log, epoch, replaced)
    return Settled(epoch, False, replaced)


async def _finish(bus: Bus, log: LogLook, epoch: Epoch, replaced: tuple[Epoch, ...]) -> None:
    await forget_checkpoints(bus, log.partition, epoch)
    with contextlib.suppress(BusError):  # gone already
        await bus.api(f"STREAM.DELETE.{bucket_stream(DIRECTORY)}", {})
    await label(bus, log, epoch, replaced)


async def _has_counted(bus: Bus, log: LogLook, epoch: Epoch, counted: Position | None) -> bool:
    return counted is None or counted.epoch != epoch or await holds(bus, log, counted)


async def _has_claimed(bus: Bus, log: LogLook, epoch: Epoch, newest: Claim | None) -> bool:
    if newest is None or newest.epoch not in {"", epoch} or newest.stream_seq < log.first:
        return True
    if newest.stream_seq > log.last:
        return False
    stored = await bus.stored_at_leader(log_stream(log.partition), newest.stream_seq)
    return stored is not None and stored.subject == newest.subject
