"""How far each partition is: its log, the sequencer's position, the archive's watermark."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from shared import subjects
from shared.bus import Bus, BusError
from shared.errors import Unavailable
from shared.ids import Partition
from shared.records import ArchiveStatus, Position
from shared.streams import bucket_stream

_ARCHIVE_TIMEOUT_S = 2.0


class _State(BaseModel):
    messages: int
    first_seq: int
    last_seq: int
    consumer_count: int
    num_subjects: int = 0


class _StreamInfo(BaseModel):
    state: _State


@dataclass(frozen=True, slots=True)
class PartitionReport:
    """Stream sequences of one partition; `numbered` and `archived` are None where nobody answers."""

    stream: str
    channels: int
    events: int
    first: int
    last: int
    consumers: int
    numbered: int | None
    archived: int | None


async def partition_reports(bus: Bus, partitions: int) -> list[PartitionReport]:
    """One report per partition, in order. Raises `Unavailable` if JetStream does not answer."""
    return [await _report(bus, Partition(number)) for number in range(partitions)]


async def _report(bus: Bus, partition: Partition) -> PartitionReport:
    stream = subjects.log_stream(partition)
    state = _StreamInfo.model_validate(await bus.api(f"STREAM.INFO.{stream}", {})).state
    return PartitionReport(
        stream=stream,
        channels=state.num_subjects,
        events=state.messages,
        first=state.first_seq,
        last=state.last_seq,
        consumers=state.consumer_count,
        numbered=await _numbered(bus, partition),
        archived=await _archived(bus, partition),
    )


async def _numbered(bus: Bus, partition: Partition) -> int | None:
    key = subjects.kv_subject(subjects.CHECKPOINTS, subjects.position_key(partition))
    try:
        stored = await bus.last(bucket_stream(subjects.CHECKPOINTS), key)
    except (BusError, Unavailable):
        return None
    return Position.model_validate_json(stored.body).stream_seq if stored else 0


async def _archived(bus: Bus, partition: Partition) -> int | None:
    try:
        reply = await bus.request(
            subjects.archive_subject(partition, "status"), b"", timeout_s=_ARCHIVE_TIMEOUT_S
        )
        return ArchiveStatus.model_validate_json(reply).watermark
    except (Unavailable, ValidationError):  # nobody there, or a `Failure`
        return None
