"""The whole check: clients = log = archive = checkpoints, partition by partition."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from infra.proof import sources
from infra.proof.findings import Findings
from infra.proof.ledger import Difference, Ledger, compare_archive, compare_checkpoints
from infra.proof.sources import Heads
from shared.archive_store import Archive
from shared.bus import Bus
from shared.client import Verifier
from shared.ids import ChannelKey, Partition, StreamSeq, WorkspaceId
from shared.retry import Deadline
from shared.subjects import partition_of

Note = Callable[[str], None]


@dataclass(slots=True)
class Line:
    """What was compared in one partition."""

    partition: Partition
    head: StreamSeq
    channels: int = 0
    log: int = 0
    archive: int = 0
    checkpoints: int = 0
    differences: int = 0


@dataclass(slots=True)
class Report(Findings):
    """What differs between clients, log, archive and checkpoints, and how much was compared."""

    lines: list[Line] = field(default_factory=list)
    clients: int = 0
    client_events: int = 0
    client_differences: int = 0


async def check(
    bus: Bus,
    archive: Archive,
    partitions: int,
    *,
    workspace: WorkspaceId,
    verifiers: Sequence[Verifier] = (),
    wait_s: float = 60.0,
    note: Note = lambda _: None,
) -> Report:
    """Compare everything up to the logs' heads at the start.

    Waits up to `wait_s` for the archiver and the sequencer to reach those heads. Clients (of `workspace`)
    must have seen their channels up to the log's head. What is recorded meanwhile they have seen as well, but
    it was not read here: if something differs and the logs have grown, everything is compared anew.
    """
    deadline = Deadline.after(wait_s)
    while True:
        heads, report = await _check_now(bus, partitions, archive, workspace, verifiers, deadline, note)
        if report.clean or deadline.passed or await sources.read_heads(bus, partitions) == heads:
            return report
        note("the logs have grown")


async def _check_now(
    bus: Bus,
    partitions: int,
    archive: Archive,
    workspace: WorkspaceId,
    verifiers: Sequence[Verifier],
    deadline: Deadline,
    note: Note,
) -> tuple[Heads, Report]:
    """What was found up to the logs' heads, and those heads."""
    epochs, refuted = await sources.read_epochs(bus, partitions, deadline)
    heads = await sources.read_heads(bus, partitions)
    report = Report([Line(partition, head) for partition, head in heads.items()])
    for partition in refuted:
        report.add(f"partition {partition}: the log was replaced, and no sequencer has begun a new epoch")
    note("waiting for the archive")
    for partition, hi in (await sources.wait_for_archive(archive, heads, deadline, epochs)).items():
        report.add(f"partition {partition}: the archive has reached {hi} of {heads[partition]} in time")
    note("waiting for the checkpoints")
    for partition, at in (await sources.wait_for_checkpoints(bus, heads, deadline)).items():
        report.add(f"partition {partition}: checkpoints have reached {at} of {heads[partition]} in time")
    note("reading the logs")
    log = await sources.read_logs(bus, heads, archive)
    note("reading the archive")
    upto = _Upto(heads, partitions)
    archived, wrong = await asyncio.to_thread(sources.read_archive, archive, upto)
    note("reading the checkpoints")
    checkpoints = await sources.read_checkpoints(bus, epochs)
    note("comparing")
    _count(report, partitions, log, archived, checkpoints)
    _enter(report, partitions, wrong)
    _enter(report, partitions, compare_archive(log, archived))
    _enter(report, partitions, compare_checkpoints(log, checkpoints, upto))
    _enter(report, partitions, await asyncio.to_thread(sources.read_losses, archive, log))
    _compare_clients(report, log, workspace, verifiers)
    return heads, report


class _Upto(dict[ChannelKey, StreamSeq]):
    """How far the log of a channel's partition was read."""

    def __init__(self, heads: Heads, partitions: int) -> None:
        super().__init__()
        self._heads = heads
        self._partitions = partitions

    def __missing__(self, key: ChannelKey) -> StreamSeq:
        self[key] = self._heads[partition_of(key, self._partitions)]
        return self[key]


def _count(
    report: Report, partitions: int, log: Ledger, archived: Ledger, checkpoints: Iterable[ChannelKey]
) -> None:
    for key, account in log.items():
        line = report.lines[partition_of(key, partitions)]
        line.channels += 1
        line.log += account.seq
    for key, account in archived.items():
        report.lines[partition_of(key, partitions)].archive += account.seq
    for key in checkpoints:
        report.lines[partition_of(key, partitions)].checkpoints += 1


def _enter(report: Report, partitions: int, differences: Iterable[Difference]) -> None:
    for difference in differences:
        report.lines[partition_of(difference.key, partitions)].differences += 1
        report.add(str(difference))


def _compare_clients(
    report: Report, log: Ledger, workspace: WorkspaceId, verifiers: Sequence[Verifier]
) -> None:
    reference: dict[str, Sequence[int]] = {
        key.channel: account.wire for key, account in log.items() if key.workspace == workspace
    }
    for verifier in verifiers:
        report.clients += 1
        report.client_events += verifier.events
        faults = [*verifier.faults, *verifier.compare(reference)]
        unnamed = verifier.fault_count - len(verifier.faults)
        report.client_differences += len(faults) + unnamed
        report.count += unnamed
        for fault in faults:
            report.add(f"client {verifier.name}: {fault}")
