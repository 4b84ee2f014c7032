"""How far each partition is: its log and who keeps it, the sequencer's position, the archive's positions."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from infra.nats.stream_info import Replica, stream_info
from shared import subjects
from shared.bus import Bus, BusError
from shared.errors import Unavailable
from shared.ids import Partition
from shared.records import ArchiveStatus, Position
from shared.subjects import bucket_stream

_ARCHIVE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class PartitionReport:
    """Stream sequences of one partition; positions of services are None where nobody answers."""

    stream: str
    leader: str | None
    """None while the servers elect one."""
    replicas: tuple[Replica, ...]
    channels: int
    events: int
    first: int
    last: int
    consumers: int
    numbered: int | None
    """The sequencer's saved position."""
    archived: int | None
    """The archive's watermark: everything up to it is in Parquet."""
    applied: int | None
    """What the archiver knows: it answers up to here."""
    searchable: int | None
    """What search finds; behind `applied` while an index is made anew."""


async def partition_reports(bus: Bus, partitions: int) -> list[PartitionReport]:
    """One report per partition, in order. Raises `Unavailable` if JetStream does not answer."""
    return [await _report(bus, Partition(number)) for number in range(partitions)]


async def _report(bus: Bus, partition: Partition) -> PartitionReport:
    stream = subjects.log_stream(partition)
    info = await stream_info(bus, stream)
    state = info.state
    archive = await _archive(bus, partition)
    return PartitionReport(
        stream=stream,
        leader=info.cluster.leader or None,
        replicas=info.cluster.replicas,
        channels=state.num_subjects,
        events=state.messages,
        first=state.first_seq,
        last=state.last_seq,
        consumers=state.consumer_count,
        numbered=await _numbered(bus, partition),
        archived=archive.watermark if archive else None,
        applied=archive.applied if archive else None,
        searchable=archive.searchable if archive else None,
    )


async def _numbered(bus: Bus, partition: Partition) -> int | None:
    key = subjects.kv_subject(subjects.CHECKPOINTS, subjects.position_key(partition))
    try:
        stored = await bus.last(bucket_stream(subjects.CHECKPOINTS), key)
    except (BusError, Unavailable):
        return None
    return Position.model_validate_json(stored.body).stream_seq if stored else 0


async def _archive(bus: Bus, partition: Partition) -> ArchiveStatus | None:
    try:
        reply = await bus.request(
            subjects.archive_subject(partition, "status"), b"", timeout_s=_ARCHIVE_TIMEOUT_S
        )
        return ArchiveStatus.model_validate_json(reply)
    except (Unavailable, ValidationError):  # nobody there, or a `Failure`
        return None
