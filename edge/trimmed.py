"""Logs that are trimmed at their front: what may have left them, and how to write on behind it.

A log is trimmed at its front only, and only what is in Parquet and in the checkpoints. So as long as our own
position is still there, nothing behind it is missing. If it is gone, which is usual in a channel that was
quiet for long, the newest checkpoint decides: it counts everything that was ever trimmed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from shared.bus import Bus, StoredMessage
from shared.errors import LogRegressed, Unavailable, WrongLastSequence
from shared.ids import ChannelKey, Partition, Seq, StreamSeq
from shared.records import Checkpoint
from shared.streams import bucket_stream
from shared.subjects import CHECKPOINTS, channel_subject, checkpoint_key, kv_subject, log_stream

T = TypeVar("T")


async def trimmed_upto(
    bus: Bus, key: ChannelKey, partition: Partition, mine: StreamSeq, found: Sequence[StoredMessage]
) -> Checkpoint | None:
    """None if nothing behind `mine` can have left the log, else a checkpoint that counts all that has.

    `found` was read before this call, from `mine` on. No checkpoint of the channel means that nothing of it
    was trimmed. Raises `Unavailable`, or `BusError` if there is no bucket.
    """
    if found and found[0].stream_seq == mine:
        return None
    if await bus.first_seq(log_stream(partition)) <= mine + 1:
        return None
    subject = kv_subject(CHECKPOINTS, checkpoint_key(partition, key))
    stored = await bus.newest(bucket_stream(CHECKPOINTS), subject)
    return None if stored is None else Checkpoint.model_validate_json(stored.body)


async def read_behind(
    bus: Bus, key: ChannelKey, partition: Partition, mine: StreamSeq, seq: Seq, upto: StreamSeq
) -> list[StoredMessage]:
    """Every message of the channel behind `mine`, whose number is `seq`, up to `upto` at least.

    Raises `LogRegressed` if some of them have left the log, `Unavailable`, or `BusError`.
    """
    stream, subject = log_stream(partition), channel_subject(partition, key)
    while True:
        try:
            found = await bus.read_between(stream, subject, StreamSeq(mine - 1), upto)
        except Unavailable:
            await _still_there(bus, key, partition, mine, upto)
            raise
        newest = await trimmed_upto(bus, key, partition, mine, found)
        behind = [stored for stored in found if stored.stream_seq > mine]
        if newest is None or newest.stream_seq <= mine:
            return behind
        if newest.stream_seq <= upto:
            if sum(stored.stream_seq <= newest.stream_seq for stored in behind) != newest.seq - seq:
                raise LogRegressed(f"{stream} has lost events behind {mine} at its front")
            return behind
        upto = newest.stream_seq


async def _still_there(
    bus: Bus, key: ChannelKey, partition: Partition, mine: StreamSeq, upto: StreamSeq
) -> None:
    """Raises `LogRegressed` if `upto` cannot be read because it was trimmed."""
    newest = await trimmed_upto(bus, key, partition, mine, [])
    if newest is not None and newest.stream_seq >= upto and await has_left_log(bus, partition, upto):
        raise LogRegressed(f"{log_stream(partition)} has lost {upto} at its front")


async def has_left_log(bus: Bus, partition: Partition, stream_seq: StreamSeq) -> bool:
    """Whether this position was trimmed. Raises `Unavailable` or `BusError`."""
    return await bus.first_seq(log_stream(partition)) > stream_seq


async def on_head(
    bus: Bus, partition: Partition, head: StreamSeq, commit: Callable[[StreamSeq], Awaitable[T]]
) -> T:
    """`commit` on the condition that `head` is still the channel's last position.

    JetStream looks for it among what it stores: a head that was trimmed counts as 0.
    Raises `WrongLastSequence` and what `commit` raises.
    """
    try:
        return await commit(head)
    except WrongLastSequence as error:
        if not await has_left_log(bus, partition, head):
            raise
        retried = error.retried
    try:
        return await commit(StreamSeq(0))
    except WrongLastSequence as error:
        error.retried |= retried  # what stands there may be the first try's
        raise
