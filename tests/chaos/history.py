"""What there is to read when something is wrong: the few records that show it, a folder with all of them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from shared.archive_files import scan
from shared.bus import Bus
from shared.errors import ParleyError
from shared.events import decode
from shared.ids import ChannelKey, Partition, channel_id, workspace_id
from shared.subjects import channel_subject, log_stream, partition_of
from tests.bench.system import WORKSPACE, System
from tests.chaos.checker import Wrong
from tests.chaos.silence import Injury
from tests.chaos.testimony import Reading, Record

REACH = 2
"""Numbers on both sides of the one that is wrong."""
BEFORE_S, AFTER_S = 15.0, 5.0
LOG_LINES_MAX = 30
READ_S = 30.0


async def smallest(
    system: System, wrong: Wrong, record: Record, readings: Sequence[Reading], injuries: Sequence[Injury]
) -> list[str]:
    """The few records around one wrong thing: faults, acks, deliveries, log, archive, what services said."""
    heard = sorted([*_acks(wrong, record), *_deliveries(wrong, readings)])
    at_s = _moment(wrong, record, readings)
    lines = [f"{wrong}"]
    lines += (
        f"{injury.from_s:10.3f}  fault   {injury.kind} {injury.victim} until {injury.to_s:.3f}"
        for injury in injuries
        if injury.from_s - AFTER_S <= at_s <= injury.to_s + BEFORE_S
    )
    lines += (f"{when_s:10.3f}  {what}" for when_s, what in heard)
    if wrong.channel:
        lines += await _stored(system, wrong)
    lines += _said(system.directory.logs, at_s)
    return lines


def keep(
    folder: Path, system: System, wrongs: Sequence[Wrong], record: Record, readings: Sequence[Reading]
) -> None:
    """Everything that was heard, what is wrong, and the logs of all processes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "wrong.txt").write_text("\n".join(map(str, wrongs)))
    _write(folder / "acks.ndjson", (ack._asdict() for ack in record.acks))
    for reading in readings:
        rows = (
            {"channel": channel, "seq": seq, "id": id_, "at_s": at_s}
            for channel, track in reading.tracks.items()
            for at_s, seq, id_ in zip(track.at_s, track.seqs, track.ids, strict=True)
        )
        _write(folder / f"deliveries-{reading.who}.ndjson", rows)
    shutil.copytree(system.directory.logs, folder / "logs", dirs_exist_ok=True)


def _write(path: Path, rows: Iterable[dict[str, object]]) -> None:
    with path.open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _acks(wrong: Wrong, record: Record) -> Iterator[tuple[float, str]]:
    ids = {ack.id for ack in record.acks if ack.channel == wrong.channel and ack.seq == wrong.seq}
    for ack in record.acks:
        near = ack.channel == wrong.channel and abs(ack.seq - wrong.seq) <= REACH
        if near or ack.id in ids or ack.id == wrong.who:
            again = " (duplicate)" if ack.duplicate else ""
            yield ack.at_s, f"ack     {ack.who}: {ack.channel} #{ack.seq} is {ack.id}{again}"


def _deliveries(wrong: Wrong, readings: Sequence[Reading]) -> Iterator[tuple[float, str]]:
    """To the one concerned, and to one other for comparison."""
    other = next((reading for reading in readings if reading.who != wrong.who), None)
    for reading in readings:
        track = reading.tracks.get(wrong.channel)
        if track is not None and (reading.who == wrong.who or reading is other):
            for at_s, seq, id_ in track.around(wrong.seq, REACH):
                yield at_s, f"event   to {reading.who}: {wrong.channel} #{seq} is {id_}"


def _moment(wrong: Wrong, record: Record, readings: Sequence[Reading]) -> float:
    """When it happened: the first that was heard of the number, else the last ack at all."""
    place = (wrong.channel, wrong.seq)
    times = [ack.at_s for ack in record.acks if (ack.channel, ack.seq) == place]
    for reading in readings:
        if (track := reading.tracks.get(wrong.channel)) is not None:
            times += [at_s for at_s, _, _ in track.around(wrong.seq, 0)]
    return min(times, default=record.acks[-1].at_s if record.acks else time.monotonic())


async def _stored(system: System, wrong: Wrong) -> list[str]:
    """What log and archive hold around the number."""
    lines: list[str] = []
    try:
        async with asyncio.timeout(READ_S):
            lines += await _log(system, wrong)
            lines += await asyncio.to_thread(_archive, system.directory.archive, wrong)
    except (TimeoutError, ParleyError, OSError) as error:
        lines.append(f"            log and archive cannot be read: {error!r}")
    return lines


async def _log(system: System, wrong: Wrong) -> list[str]:
    partitions = system.run.partitions
    key = ChannelKey(workspace_id(WORKSPACE), channel_id(wrong.channel))
    partition: Partition = partition_of(key, partitions)
    lines: list[str] = []
    seq = 0
    async with Bus.connect(system.directory.operator_settings(), "chaos") as bus:
        async for batch in bus.scan(log_stream(partition), channel_subject(partition, key)):
            for stored in batch:
                seq += 1
                if abs(seq - wrong.seq) <= REACH:
                    event = decode(stored.body)
                    place = f"#{seq} at {stored.stream_seq}"
                    lines.append(f"            log     {wrong.channel} {place} is {event.id}")
    return lines


def _archive(directory: str, wrong: Wrong) -> list[str]:
    return [
        f"            archive {row.channel} #{row.seq} at {row.stream_seq} is {row.id}"
        for row in scan(directory, workspace=WORKSPACE, channel=wrong.channel)
        if abs(row.seq - wrong.seq) <= REACH
    ]


def _said(logs: Path, at_s: float) -> list[str]:
    """The loud lines of all services around that moment."""
    moment = time.time() - time.monotonic() + at_s
    found: list[tuple[str, str]] = []
    for path in sorted(logs.glob("*.log")):
        for line in path.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                fields = json.loads(line)
                when = datetime.datetime.fromisoformat(fields["at"]).timestamp()
                if fields["level"] != "info" and -BEFORE_S <= when - moment <= AFTER_S:
                    found.append((fields["at"], f"            {path.stem}: {line[:200]}"))
    return [line for _, line in sorted(found)[-LOG_LINES_MAX:]]
