"""The epoch of a log: which incarnation of it the numbers belong to, and how it changes.

It stands in the stream's metadata, and an old copy of a stream's directory brings an old epoch back. So a
reader believes it only together with the sequencer's position: the log must hold the event that stood at
that position, in the epoch that the position names. Only the sequencer changes an epoch (shared/DESIGN.md).
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass

from shared.bus import Bus, BusError
from shared.errors import LogRegressed
from shared.ids import Epoch, Partition, StreamSeq
from shared.records import Position
from shared.streams import EPOCH_LABEL, EPOCH_REPLACED_LABEL, bucket_stream
from shared.subjects import CHECKPOINTS, kv_subject, log_stream, position_key

_NO_STREAM = 10059
_NO_MESSAGE = 10037


@dataclass(frozen=True, slots=True)
class LogLook:
    """A log as the leader of its stream knows it; `replaced`: the epoch before this one."""

    partition: Partition
    epoch: Epoch
    replaced: Epoch
    first: StreamSeq
    last: StreamSeq


async def look(bus: Bus, partition: Partition) -> LogLook:
    """The log now. Raises `Unavailable` or `BusError`."""
    config, state = await _info(bus, partition)
    metadata = config["metadata"]
    assert isinstance(metadata, dict)
    return LogLook(
        partition,
        Epoch(str(metadata[EPOCH_LABEL])),
        Epoch(str(metadata.get(EPOCH_REPLACED_LABEL, ""))),
        StreamSeq(int(str(state["first_seq"]))),
        StreamSeq(int(str(state["last_seq"]))),
    )


async def holds(bus: Bus, log: LogLook, stream_seq: StreamSeq, at_us: int) -> bool:
    """Whether the event that stood at a position still does; true if it was trimmed meanwhile."""
    if stream_seq > log.last:
        return False
    if stream_seq < max(log.first, 1):
        return True
    stored = await bus.stored(log_stream(log.partition), stream_seq)
    return stored is not None and stored.at_us == at_us


async def saved_position(bus: Bus, partition: Partition) -> Position | None:
    """What the sequencer has saved, as the leader of the bucket knows it."""
    subject = kv_subject(CHECKPOINTS, position_key(partition))
    try:
        answer = await bus.api(f"STREAM.MSG.GET.{bucket_stream(CHECKPOINTS)}", {"last_by_subj": subject})
    except BusError as error:
        if error.err_code in {_NO_STREAM, _NO_MESSAGE}:
            return None
        raise
    stored = answer["message"]
    assert isinstance(stored, dict)
    return Position.model_validate_json(base64.b64decode(stored["data"]))


async def proven_epoch(bus: Bus, partition: Partition) -> Epoch:
    """The epoch of a log that is the one which the sequencer has counted.

    Raises `LogRegressed` if it is not, or not yet again: the log was replaced, and the sequencer has not
    given it its new epoch.
    """
    log = await look(bus, partition)
    position = await saved_position(bus, partition)
    if position is not None:
        if position.epoch not in {"", log.epoch}:
            raise LogRegressed(f"{log_stream(partition)} says epoch {log.epoch}, not {position.epoch}")
        if not await holds(bus, log, position.stream_seq, position.at_us):
            raise LogRegressed(f"{log_stream(partition)} does not hold what stood at {position.stream_seq}")
    return log.epoch


async def change_epoch(bus: Bus, partition: Partition, old: Epoch) -> Epoch:
    """Begin a new epoch in place of `old`; if somebody else has done so, theirs counts.

    The look and the update are two steps: two who do this in the same moment may change it twice, which
    costs a second `reset` and nothing else.
    """
    config, _ = await _info(bus, partition)
    metadata = config["metadata"]
    assert isinstance(metadata, dict)
    if metadata.get(EPOCH_REPLACED_LABEL) == old:
        return Epoch(str(metadata[EPOCH_LABEL]))
    fresh = {EPOCH_LABEL: secrets.token_hex(4), EPOCH_REPLACED_LABEL: old}
    await bus.api(f"STREAM.UPDATE.{log_stream(partition)}", {**config, "metadata": {**metadata, **fresh}})
    return (await look(bus, partition)).epoch


async def _info(bus: Bus, partition: Partition) -> tuple[dict[str, object], dict[str, object]]:
    info = await bus.api(f"STREAM.INFO.{log_stream(partition)}", {})
    config, state = info["config"], info["state"]
    assert isinstance(config, dict)
    assert isinstance(state, dict)
    return config, state
