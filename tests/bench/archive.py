"""`archive`: from what the log holds to a committed segment, through the archiver's own code, and its size.

In Parquet means: decoded, numbered, folded, segment written, synced, named, manifest published. Committed is
what it is in the service: the cache recorded, too (where messages are, ids, members). References: for speed,
one `pyarrow.parquet.write_table` of the same table with its defaults and no sync; for size, the bodies as the
log holds them. Memory is settled as in the service.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from archiver.core.hot import Batch
from archiver.core.segment import table_of
from archiver.partition import PartitionArchive
from shared.archive_rows import row_of
from shared.archive_store import LocalStore
from shared.envelope import StoredMessage
from shared.ids import ChannelKey, Epoch, Partition, StreamSeq
from shared.service import settle_memory
from shared.subjects import parse_channel_subject
from tests.bench.corpus import load
from tests.bench.fold import stored
from tests.bench.measure import median
from tests.bench.report import Figure

NAME = "archive"
EVENTS = 50_000
CHANNELS = 200
EVENTS_PER_S_MIN, BYTES_MAX = 200_000.0, 60.0


@dataclass(frozen=True, slots=True)
class _Sample:
    rows_per_s: float
    take_us: float
    parquet_us: float
    cache_us: float
    plain_rows_per_s: float
    bytes_per_event: float


async def measure(repetitions: int) -> list[Figure]:
    """Rows a second and bytes an event."""
    corpus = load(EVENTS, CHANNELS)
    batch = stored(corpus)
    body_bytes = sum(len(message.body) for message in batch) / len(batch)
    with tempfile.TemporaryDirectory(prefix="parley-bench-") as scratch:
        samples = [_sample(Path(scratch) / str(number), batch) for number in range(repetitions)]
    case = f"{EVENTS} events, {CHANNELS} channels, {'ubuntu-irc' if corpus.real else 'made-up'} texts"
    written = median(sample.rows_per_s for sample in samples)

    def figure(name: str, unit: str, value: float, **more: object) -> Figure:
        return Figure(NAME, case, name, unit, value, repetitions, **more)  # type: ignore[arg-type]

    return [
        figure(
            "numbered to committed",
            "rows/s",
            written,
            reference=median(sample.plain_rows_per_s for sample in samples),
            reference_name="pyarrow write_table",
            ratio=median(sample.rows_per_s / sample.plain_rows_per_s for sample in samples),
        ),
        figure(
            "decode to Parquet",
            "events/CPU-s",
            median(1e6 / (sample.take_us + sample.parquet_us) for sample in samples),
            target=EVENTS_PER_S_MIN,
            at_least=True,
        ),
        figure("CPU: decode, number, fold", "us/event", median(sample.take_us for sample in samples)),
        figure("CPU: to Parquet", "us/event", median(sample.parquet_us for sample in samples)),
        figure("CPU: cache", "us/event", median(sample.cache_us for sample in samples)),
        figure(
            "Parquet",
            "bytes/event",
            median(sample.bytes_per_event for sample in samples),
            target=BYTES_MAX,
            reference=body_bytes,
            reference_name="body in the log",
            ratio=median(sample.bytes_per_event / body_bytes for sample in samples),
        ),
    ]


def _sample(directory: Path, batch: Sequence[StoredMessage]) -> _Sample:
    in_parquet_ns = 0

    def reached(point: str) -> None:
        nonlocal in_parquet_ns
        if point == "manifest-directory-synced":
            in_parquet_ns = time.process_time_ns()

    store, cache = LocalStore(directory), directory / "cache"
    archive = PartitionArchive(store, cache, Partition(0), Epoch("bench"), reached)
    archive.open()
    keys = dict.fromkeys(parse_channel_subject(message.subject)[1] for message in batch)
    settle_memory()
    began_ns = time.process_time_ns()
    _load(archive, keys)
    archive.take(batch)
    take_ns = time.process_time_ns() - began_ns
    cut = archive.hot.cut()
    plain_ns = _plain(directory, cut)
    began_ns, began_cpu_ns = time.monotonic_ns(), time.process_time_ns()
    manifest = archive.write(cut)
    wrote_ns = time.monotonic_ns() - began_ns
    archive.committed(cut, manifest)
    cache_ns = time.process_time_ns() - in_parquet_ns
    archive.close()
    assert manifest.hi == StreamSeq(len(batch))
    return _Sample(
        rows_per_s=len(batch) / wrote_ns * 1e9,
        take_us=take_ns / 1000 / len(batch),
        parquet_us=(in_parquet_ns - began_cpu_ns) / 1000 / len(batch),
        cache_us=cache_ns / 1000 / len(batch),
        plain_rows_per_s=len(batch) / plain_ns * 1e9,
        bytes_per_event=sum(segment.bytes for segment in manifest.segments) / len(batch),
    )


def _load(archive: PartitionArchive, keys: dict[ChannelKey, None]) -> None:
    for key, head in archive.cache.heads(keys).items():
        archive.hot.load(key, head)


def _plain(directory: Path, cut: Batch) -> int:
    table = table_of([row_of(hot.recorded, hot.body) for _, _, events in cut.channels for hot in events])
    began_ns = time.monotonic_ns()
    pq.write_table(table, directory / "plain.parquet")
    return time.monotonic_ns() - began_ns
