"""A large archive of one partition, made as the archiver makes it: its writer, its merges, its manifest.

Channels are busy as channels are (Zipf, 1.05); of the events 83 % are messages, whose texts are lines of
#ubuntu, 5 % edits, 1 % deletions, 10 % reactions, 1 % joins. What the cache keeps of ids, members and states
is left out: pages need heads and runs.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import random
import resource
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import duckdb
import orjson
import pyarrow as pa

from archiver.cache import Cache
from archiver.core.compaction import Run, due
from archiver.core.manifest import compacted, extended
from archiver.core.segment import SegmentRange
from archiver.manifest_store import ManifestStore
from archiver.merge import merge_runs
from archiver.parquet import write_empty_segment, write_table
from shared.archive_files import newest_manifest
from shared.archive_manifest import Manifest, Segment
from shared.archive_schema import SCHEMA
from shared.archive_store import Archive, Store, open_store
from shared.channel import ChannelState, dump_state
from shared.ids import Epoch, Partition, StreamSeq, UserId
from tests.bench.corpus import lines

EPOCH = Epoch("bench")
OF_A_RUN = 1_000_000
"""Events of a run before it is merged with others."""

TEXTS = 200_000
WORKSPACE = "demo"
_NAME = "'c' || substr(md5(rank::VARCHAR), 1, 8)"

_EVENTS = f"""
CREATE OR REPLACE TABLE chunk AS
SELECT n, {_NAME} AS channel,
    coalesce(heads.seq, 0) + row_number() OVER (PARTITION BY rank ORDER BY n) AS seq, r2, r3
FROM (SELECT $first + range AS n, random() AS r2, random() AS r3,
        floor(pow((pow($channels, -0.05) - 1) * random() + 1, -20))::BIGINT AS rank FROM range($rows))
LEFT JOIN heads USING (rank)
"""
_HEADS = """
CREATE OR REPLACE TABLE heads AS
SELECT rank, max(seq) AS seq FROM (
    SELECT rank, seq FROM heads UNION ALL
    SELECT ranks.rank, chunk.seq FROM chunk JOIN ranks ON ranks.channel = chunk.channel) GROUP BY rank
"""
_RANKS = f"""
CREATE TABLE ranks AS SELECT rank, {_NAME} AS channel FROM (SELECT range AS rank FROM range($channels + 2))
"""
_TABLE = """
SELECT 'demo' AS workspace, channel, seq,
    CASE WHEN r2 < 0.83 THEN 'message.posted' WHEN r2 < 0.88 THEN 'message.edited'
        WHEN r2 < 0.89 THEN 'message.deleted' WHEN r2 < 0.99 THEN 'reaction.added'
        ELSE 'member.joined' END AS kind,
    'u' || lpad(floor(5000 * r3 * r3)::INT::VARCHAR, 4, '0') AS author,
    TIMESTAMP '2024-01-01' + to_microseconds((n * 300000)::BIGINT) AS ts,
    CASE WHEN r2 < 0.88 THEN said.text END AS text,
    CASE WHEN r2 >= 0.83 AND r2 < 0.99 THEN greatest(1, seq - 1 - (20 * r3)::INT) END::BIGINT AS ref,
    CASE WHEN r2 < 0.2 AND seq > 30 THEN greatest(1, seq - (30 * r3)::INT) END::BIGINT AS thread,
    unhex(lpad(to_hex((1704067200000 + n * 300)::BIGINT), 12, '0') || '7' || substr(md5(n::VARCHAR), 1, 19))
        AS id,
    NULL::VARCHAR AS void,
    CASE WHEN r2 >= 0.83 AND r2 < 0.89 THEN '{"ref_author":"u0001"}'
        WHEN r2 >= 0.89 AND r2 < 0.99 THEN '{"emoji":"👍"}' END AS extras,
    n AS stream_seq
FROM chunk JOIN said ON said.i = (n * 7919) % $texts
ORDER BY workspace, channel, seq
"""
_OF_CHANNELS = "SELECT channel, min(seq), max(seq), min(n), max(n) FROM chunk GROUP BY channel"


class Merged(NamedTuple):
    """What a merge took: the CPU of its process, and the most memory that it had."""

    events: int
    cpu_s: float
    rss_bytes: int


@dataclass
class Generated:
    """The archive and how it came about."""

    manifest: Manifest
    merges: list[Merged] = field(default_factory=list)


@contextmanager
def generated(events: int) -> Iterator[tuple[Path, Generated]]:
    """An archive of that many events in a thousandth as many channels, its cache below it.

    In a temporary directory; or, made once and kept for later runs, in the one that `BENCH_ARCHIVE` names.
    """
    with tempfile.TemporaryDirectory(prefix="parley-bench-", dir=os.environ.get("BENCH_DIR")) as scratch:
        directory = Path(os.environ.get("BENCH_ARCHIVE", scratch)) / f"{events}"
        done = directory / "merges.json"
        if not done.exists():
            shutil.rmtree(directory, ignore_errors=True)
            made = generate(directory, directory / "cache", events, events // 1000)
            done.write_bytes(orjson.dumps([*map(tuple, made.merges)]))
        manifest = newest_manifest(open_store(directory).within("p00"))
        assert manifest is not None
        yield directory, Generated(manifest, [Merged(*merge) for merge in orjson.loads(done.read_bytes())])


def channels_of(cache_dir: Path) -> dict[str, int]:
    """The channels of such an archive, each with its number of events."""
    with contextlib.closing(sqlite3.connect(cache_dir / "p00.sqlite")) as cache:
        return dict(cache.execute("SELECT channel, seq FROM channels ORDER BY channel"))


def generate(archive: Archive, cache_dir: Path, events: int, channels: int) -> Generated:
    """Write that many events into partition 0, merging as the archiver does."""
    root = open_store(archive)
    root.make()
    write_empty_segment(root)
    store = ManifestStore(root, Partition(0), lambda _: None)
    made = Generated(store.open(Partition(0), EPOCH, [], "bench", 1))
    cache = Cache(cache_dir / "p00.sqlite", EPOCH, StreamSeq(events))
    with duckdb.connect(config={"threads": 2, "memory_limit": "2GB"}) as db:
        _prepare(db, channels)
        for lo in range(1, events + 1, OF_A_RUN):
            hi = StreamSeq(min(events, lo + OF_A_RUN - 1))
            where = SegmentRange(StreamSeq(lo), hi, 0, 0)
            segment = write_table(store.files, _rows(db, where, channels), where, lambda _: None)
            made.manifest = extended(made.manifest, segment, 1, "bench", 1)
            _record(cache, db, where)
            while runs := due(made.manifest.segments):
                made.merges.append(_merge(root, cache, runs, made))
    store.publish(made.manifest.model_copy(update={"version": 2}))
    cache.close()
    return made


def _prepare(db: duckdb.DuckDBPyConnection, channels: int) -> None:
    texts = pa.table({"text": [text for _, text in itertools.islice(lines(random.Random(3)), TEXTS)]})
    db.register("texts", texts)
    db.execute("CREATE TABLE said AS SELECT row_number() OVER () - 1 AS i, text FROM texts")
    db.execute("CREATE TABLE heads (rank BIGINT, seq BIGINT)")
    db.execute(_RANKS, {"channels": channels})


def _rows(db: duckdb.DuckDBPyConnection, where: SegmentRange, channels: int) -> pa.Table:
    rows = where.hi - where.lo + 1
    db.execute(_EVENTS, {"first": where.lo, "rows": rows, "channels": channels})
    db.execute(_HEADS)
    found = db.execute(_TABLE, {"texts": TEXTS}).to_arrow_table()
    ids = found["id"].combine_chunks().cast(pa.binary(16))
    columns = [
        pa.ExtensionArray.from_storage(pa.uuid(), ids) if name == "id" else found[name]
        for name in SCHEMA.names
    ]
    return pa.Table.from_arrays(columns, names=SCHEMA.names).cast(SCHEMA)


def _record(cache: Cache, db: duckdb.DuckDBPyConnection, where: SegmentRange) -> None:
    state = dump_state(ChannelState("public", "bench", UserId("u0001"), members={}))
    writer = cache._writer
    writer.execute("BEGIN")
    for channel, seq_lo, seq_hi, stream_lo, stream_hi in db.execute(_OF_CHANNELS).fetchall():
        (number,) = writer.execute(
            "INSERT INTO channels (workspace, channel, seq, stream_seq, state, greatest, kind)"
            " VALUES (?, ?, ?, ?, ?, '', 'public') ON CONFLICT DO UPDATE SET seq = excluded.seq,"
            " stream_seq = excluded.stream_seq RETURNING no",
            (WORKSPACE, channel, seq_hi, stream_hi, state),
        ).fetchone()
        writer.execute(
            "INSERT INTO runs VALUES (?, ?, ?, ?, ?)", (number, seq_lo, seq_hi, stream_lo, stream_hi)
        )
    writer.execute("UPDATE position SET stream_seq = ?", (where.hi,))
    writer.execute("COMMIT")


def _merge(root: Store, cache: Cache, runs: Sequence[Run], made: Generated) -> Merged:
    """In a process of its own, whose memory is the merge's."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        outputs, merged = pool.apply(_merge_here, (root.location, list(runs)))
    inputs = [part for run in runs for part in run.parts]
    made.manifest = compacted(made.manifest, inputs, outputs, "bench", 1)
    cache.join_runs(runs[0].lo, runs[-1].hi)
    for part in inputs:
        root.within("p00").remove(f"data/{part.path}")
    return merged


def _merge_here(location: str, runs: Sequence[Run]) -> tuple[list[Segment], Merged]:
    began_s = time.process_time()
    outputs = merge_runs(open_store(location).within("p00"), runs, lambda _: None)
    cpu_s = time.process_time() - began_s
    rss_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return outputs, Merged(sum(run.rows for run in runs), cpu_s, rss_bytes)
