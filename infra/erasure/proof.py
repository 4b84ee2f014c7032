"""`parley verify --erased`: that what the log says is erased is nowhere, and texts that one names neither."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from infra.erasure.named import Named, has_text, read_named, rows_with_text
from infra.erasure.pinned import whole
from infra.erasure.traces import Index, Needles, indexes_below, is_directory, traces_below, traces_in
from infra.proof import sources
from infra.proof.findings import Findings
from shared.archive_files import epochs_set_aside, pin
from shared.archive_store import Archive, open_store
from shared.bus import Bus
from shared.errors import Unavailable
from shared.events import Recorded, decode
from shared.ids import Epoch, Partition, Seq, StreamSeq
from shared.puller import Follower
from shared.retry import Deadline
from shared.subjects import log_stream, parse_channel_subject, partition_of

Note = Callable[[str], None]
INDEXES_EVERY_S = 0.2


class _End(NamedTuple):
    epoch: Epoch
    stream_seq: StreamSeq


@dataclass(slots=True)
class ErasedReport(Findings):
    """Where something was found of what is erased, and how many events are."""

    erasures: int = 0
    events: int = 0


async def check_erased(
    bus: Bus,
    archive: Archive,
    data: Path,
    partitions: int,
    texts: Sequence[str],
    *,
    wait_s: float,
    note: Note,
    readers: Sequence[Path] = (),
) -> ErasedReport:
    """Look at every file of the archive, at the logs, and for texts at every byte below the data directory.

    `readers`: directories elsewhere in which readers keep what they derive. A search index that has not taken
    an erasure in within `wait_s` may hold the words.
    Raises `Unavailable` if the archive does not reach the logs' ends within `wait_s`.
    """
    note("waiting for the archive")
    heads = await sources.read_heads(bus, partitions)
    if await sources.wait_for_archive(archive, heads, Deadline.after(wait_s)):
        raise Unavailable("the archive has not come to the logs' ends in time")
    note("reading what is erased")
    named = await asyncio.to_thread(whole, lambda: read_named(archive))
    report = ErasedReport(erasures=len(named.erasures), events=len(named.positions))
    note("reading the archive's files")
    await asyncio.to_thread(_enter_rows, report, archive, named)
    note("reading the logs")
    for partition, head in heads.items():
        await _enter_log(report, bus, partition, head, named)
    note("reading the search indexes")
    ends = await asyncio.to_thread(_ends, archive, named, partitions)
    await _enter_indexes(report, (data, *readers), ends, Deadline.after(wait_s))
    needles = Needles(texts)
    if needles:
        note("reading all files")
        await asyncio.to_thread(_enter_texts, report, archive, (data, *readers), needles)
    return report


def _enter_rows(report: ErasedReport, archive: Archive, named: Named) -> None:
    store = open_store(archive)
    for part, is_over in ((store, False), *((aside, True) for aside in epochs_set_aside(store))):
        for path, row in rows_with_text(part, named, is_over=is_over):
            report.add(f"{row.workspace}/{row.channel} #{row.seq} has a text in {path}")


async def _enter_log(report: ErasedReport, bus: Bus, partition: Partition, head: int, named: Named) -> None:
    stream = log_stream(partition)
    first = max(await bus.first_seq(stream), StreamSeq(1))
    if first > head:
        return
    async with Follower(bus, stream, first, batch_max=2000) as follower:
        async for batch in follower:
            for stored in batch:
                _, key = parse_channel_subject(stored.subject)
                recorded = Recorded(key, Seq(0), stored.stream_seq, stored.at_us, decode(stored.body))
                if (key, stored.stream_seq) in named.positions and has_text(recorded):
                    report.add(
                        f"{key.workspace}/{key.channel}: {stream} holds the text at {stored.stream_seq}"
                    )
            if batch[-1].stream_seq >= head:
                return


def _ends(archive: Archive, named: Named, partitions: int) -> dict[Partition, _End]:
    """The epoch of each partition's archive, and the last event there that erases something."""
    ends = {manifest.partition: _End(manifest.epoch, StreamSeq(0)) for manifest in pin(archive).manifests}
    for erasure in named.erasures:
        partition = partition_of(erasure.key, partitions)
        if partition in ends:
            ends[partition] = ends[partition]._replace(
                stream_seq=max(ends[partition].stream_seq, erasure.stream_seq)
            )
    return ends


async def _enter_indexes(
    report: ErasedReport, directories: Sequence[Path], ends: Mapping[Partition, _End], deadline: Deadline
) -> None:
    while True:
        found = await asyncio.to_thread(lambda: [it for one in directories for it in indexes_below(one)])
        behind = [index for index in found if _is_behind(index, ends)]
        if not behind or deadline.passed:
            break
        await asyncio.sleep(min(INDEXES_EVERY_S, deadline.left_s))
    for index in behind:
        report.add(f"{index.path} has not taken in what is erased: does its archiver or reader run?")
    for index in found:
        if index.is_unpurged:
            report.add(f"{index.path} is still to be written anew")


def _is_behind(index: Index, ends: Mapping[Partition, _End]) -> bool:
    end = None if index.partition is None else ends.get(index.partition)
    if end is None or not end.stream_seq:
        return False
    return index.epoch != end.epoch or index.stream_seq < end.stream_seq


def _enter_texts(
    report: ErasedReport, archive: Archive, directories: Sequence[Path], needles: Needles
) -> None:
    store = open_store(archive)
    local = is_directory(store)
    if local is not None and not any(local.resolve().is_relative_to(one.resolve()) for one in directories):
        directories = (*directories, local)
    for directory in directories:
        for path, text in traces_below(directory, needles):
            report.add(f"{path} holds the bytes of {text!r}")
    if local is None:
        for path, text in traces_in(store, needles):
            report.add(f"{path} holds the bytes of {text!r}")
