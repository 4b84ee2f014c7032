"""What `parley status` says of the logs, also while the services that follow them are away."""

from __future__ import annotations

from infra.cli.stream_report import partition_reports
from shared.bus import Bus
from shared.ids import ChannelId, ChannelKey, Partition, StreamSeq, WorkspaceId
from shared.records import ArchiveStatus, Failure, Position
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import CHECKPOINTS, archive_subject, kv_subject, partition_of, position_key
from tests.support.events import KINDS, example
from tests.support.sequencing import record
from tests.support.storing import put


async def test_logs_without_services(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """The log itself is counted; where nobody answers it says so, rather than 0."""
    await ensure_streams(fresh_bus, fresh_settings)
    key = ChannelKey(WorkspaceId("w"), ChannelId("tea"))
    for kind in KINDS[:3]:
        await record(fresh_bus, key, example(kind))
    reports = await partition_reports(fresh_bus, 2)
    assert [report.stream for report in reports] == ["LOG_0", "LOG_1"]
    report = reports[partition_of(key, 2)]
    assert (report.channels, report.events, report.first, report.last) == (1, 3, 1, 3)
    assert (report.numbered, report.archived, report.applied, report.consumers) == (0, None, None, 0)


async def test_a_single_server_leads_alone(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """Its log has a leader and no replica."""
    await ensure_streams(fresh_bus, fresh_settings)
    report = (await partition_reports(fresh_bus, 1))[0]
    assert report.leader
    assert report.replicas == ()


async def test_positions_behind_the_log(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """The sequencer's saved position and the archive's watermark; an archiver that fails is unknown."""
    await ensure_streams(fresh_bus, fresh_settings)
    subject = kv_subject(CHECKPOINTS, position_key(Partition(0)))
    await put(fresh_bus, subject, Position(stream_seq=StreamSeq(7)).model_dump_json().encode())
    status = ArchiveStatus(partition=0, watermark=StreamSeq(5), applied=StreamSeq(6), segments=1, manifest=1)

    async def answer(_: bytes) -> bytes:
        return status.model_dump_json().encode()

    async def fail(_: bytes) -> bytes:
        return Failure(error="unavailable", message="starting").model_dump_json().encode()

    await fresh_bus.serve(archive_subject(Partition(0), "status"), answer)
    await fresh_bus.serve(archive_subject(Partition(1), "status"), fail)
    first, second = await partition_reports(fresh_bus, 2)
    assert (first.numbered, first.archived, first.applied) == (7, 5, 6)
    assert (second.numbered, second.archived, second.applied) == (0, None, None)
