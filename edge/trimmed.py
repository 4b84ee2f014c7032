"""Logs that are trimmed at their front: what may have left them, and how to write on behind it.

A log is trimmed at its front only, and only what is in Parquet and in the checkpoints. So as long as our own
position is still there, nothing behind it is missing. If it is gone, which is usual in a channel that was
quiet for long, the newest checkpoint decides: it counts everything that was ever trimmed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from edge import metrics
from edge.archive import Archive
from shared.bus import Bus, StoredMessage
from shared.errors import LogRegressed, OutcomeUnknown, Unavailable, WrongLastSequence
from shared.events import Event, Recorded, decode
from shared.ids import ChannelKey, Epoch, Partition, Seq, StreamSeq
from shared.records import Checkpoint, Position
from shared.retry import Deadline, delays
from shared.subjects import (
    CHECKPOINTS,
    bucket_stream,
    channel_subject,
    checkpoint_key,
    kv_subject,
    log_stream,
    position_key,
)

PAGE_MAX = 500
"""Events that are asked of the archive at a time."""

ARCHIVE_PATIENCE_S = 30.0
"""How long an archive that is away is waited for from page to page; then what was trimmed counts as lost."""

T = TypeVar("T")


class Log(NamedTuple):
    """The log of one channel in one epoch."""

    key: ChannelKey
    partition: Partition
    epoch: Epoch


async def trimmed_upto(
    bus: Bus, log: Log, mine: StreamSeq, found: Sequence[StoredMessage]
) -> Checkpoint | None:
    """None if nothing behind `mine` can have left the log, else a checkpoint that counts all that has.

    `found` was read before this call, from `mine` on, in one request. Raises `Unavailable`, or `BusError`
    if there is no bucket.
    """
    if found and found[0].stream_seq == mine:
        return None
    first = await bus.first_seq(log_stream(log.partition))
    return None if first <= mine + 1 else await counted(bus, log, first)


async def head_of(bus: Bus, log: Log) -> StreamSeq | None:
    """The channel's last position, as the leaders have it; None if nothing of it was ever recorded.

    A log that has been trimmed up to there holds nothing of the channel: then its checkpoint knows.
    Raises `Unavailable` or `BusError`.
    """
    stored = await bus.newest(log_stream(log.partition), channel_subject(log.partition, log.key))
    if stored is not None:
        return stored.stream_seq
    counted = await trimmed_upto(bus, log, StreamSeq(0), [])
    return None if counted is None else counted.stream_seq


async def counted(bus: Bus, log: Log, first: StreamSeq) -> Checkpoint | None:
    """The newest checkpoint of the channel; None: it has no event below `first`, where its log begins.

    Raises `Unavailable` while the checkpoints are not complete: a missing one says nothing then.
    """
    found = await _checkpoint(bus, log)
    if found is None:
        subject = kv_subject(CHECKPOINTS, position_key(log.partition))
        stored = await bus.last(bucket_stream(CHECKPOINTS), subject)
        position = None if stored is None else Position.model_validate_json(stored.body)
        if position is None or position.epoch not in {"", log.epoch} or position.stream_seq < first - 1:
            raise Unavailable("the checkpoints are being written again", retry_after_ms=1000)
        found = await _checkpoint(bus, log)  # it may have been written since we asked
    return found


async def _checkpoint(bus: Bus, log: Log) -> Checkpoint | None:
    subject = kv_subject(CHECKPOINTS, checkpoint_key(log.partition, log.key))
    stored = await bus.newest(bucket_stream(CHECKPOINTS), subject)
    checkpoint = None if stored is None else Checkpoint.model_validate_json(stored.body)
    return checkpoint if checkpoint is not None and checkpoint.counts_in(log.epoch) else None


class Missed(NamedTuple):
    """An event of the log without its number."""

    stream_seq: StreamSeq
    at_us: int
    event: Event


async def behind(
    bus: Bus, archive: Archive, log: Log, mine: StreamSeq, seq: Seq, *, upto: StreamSeq
) -> AsyncIterator[list[Missed]]:
    """Every event of the channel behind `mine`, whose number is `seq`, up to `upto` at least, in order.

    From the log, or from the archive if some of them have left the log. Raises `LogRegressed` if the archive
    has not got them either, `Unavailable`, or `BusError`.
    """
    try:
        found = await read_behind(bus, log, mine, seq, upto)
    except LogRegressed:
        async for page in _archived(archive, log.key, mine, seq, upto):
            metrics.FEED_ARCHIVED.inc(len(page))
            yield [Missed(one.stream_seq, one.at_us, one.event) for one in page]
        return
    yield [Missed(one.stream_seq, one.at_us, decode(one.body)) for one in found]


async def read_behind(bus: Bus, log: Log, mine: StreamSeq, seq: Seq, upto: StreamSeq) -> list[StoredMessage]:
    """Every message of the channel behind `mine`, whose number is `seq`, up to `upto` at least.

    Raises `LogRegressed` if some of them have left the log, `Unavailable`, or `BusError`.
    """
    stream, subject = log_stream(log.partition), channel_subject(log.partition, log.key)
    with contextlib.suppress(Unavailable):
        found = await bus.direct_batch(stream, subject, start=mine)
        if found and found[0].stream_seq == mine and found[-1].stream_seq >= upto:
            return found[1:]
    while True:
        try:
            behind = await bus.read_between(stream, subject, mine, upto)
        except Unavailable:
            await _still_there(bus, log, mine, upto)
            raise
        # Read in several goes: the front may have moved in between, so our own event would prove nothing.
        newest = await trimmed_upto(bus, log, mine, [])
        if newest is None or newest.stream_seq <= mine:
            return behind
        if newest.stream_seq <= upto:
            if sum(stored.stream_seq <= newest.stream_seq for stored in behind) != newest.seq - seq:
                raise LogRegressed(f"{stream} has lost events behind {mine} at its front")
            return behind
        upto = newest.stream_seq


async def _still_there(bus: Bus, log: Log, mine: StreamSeq, upto: StreamSeq) -> None:
    """Raises `LogRegressed` if `upto` cannot be read because it was trimmed."""
    newest = await trimmed_upto(bus, log, mine, [])
    if newest is not None and newest.stream_seq >= upto and await has_left_log(bus, log.partition, upto):
        raise LogRegressed(f"{log_stream(log.partition)} has lost {upto} at its front")


async def _archived(
    archive: Archive, key: ChannelKey, mine: StreamSeq, seq: Seq, upto: StreamSeq
) -> AsyncIterator[list[Recorded]]:
    """`read_behind` from the archive, page by page; one that is away is waited for."""
    waits, deadline = delays(first_s=0.05, cap_s=2.0), Deadline.after(ARCHIVE_PATIENCE_S)
    while mine < upto:
        joint = Seq(max(0, seq - 1))  # with our own event, which proves that we count alike
        try:
            page, _ = await archive.history(key, after=joint, limit=PAGE_MAX, applied=upto)
        except Unavailable as error:
            if deadline.passed:
                raise LogRegressed(f"trimmed behind {mine}, and {error.message}") from error
            await asyncio.sleep(next(waits))
            continue
        own, page = page[: seq - joint], page[seq - joint :]
        if not page or [one.stream_seq for one in own] != [mine] * (seq - joint):
            raise LogRegressed(f"trimmed behind {mine}, and the archive holds nothing that follows it")
        yield page
        seq, mine = page[-1].seq, page[-1].stream_seq
        deadline = Deadline.after(ARCHIVE_PATIENCE_S)


async def has_left_log(bus: Bus, partition: Partition, stream_seq: StreamSeq) -> bool:
    """Whether this position was trimmed. Raises `Unavailable` or `BusError`."""
    return await bus.first_seq(log_stream(partition)) > stream_seq


async def on_head(
    bus: Bus, partition: Partition, head: StreamSeq, commit: Callable[[StreamSeq], Awaitable[T]]
) -> T:
    """`commit` on the condition that `head` is still the channel's last position.

    JetStream looks for it among what it stores: a head that was trimmed counts as 0.
    Raises `WrongLastSequence` and what `commit` raises; `OutcomeUnknown` if a first try may stand there and
    nobody can say.
    """
    try:
        return await commit(head)
    except WrongLastSequence as error:
        refused = error
    try:
        if not await has_left_log(bus, partition, head):
            raise refused
        return await commit(StreamSeq(0))
    except WrongLastSequence as error:
        error.retried |= refused.retried  # what stands there may be the first try's
        raise
    except Unavailable as error:
        if refused.retried:
            raise OutcomeUnknown(error.message, retry_after_ms=error.retry_after_ms) from error
        raise
