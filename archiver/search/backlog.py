"""What the search index lacks and memory does not hold any more: read from segments, in the order of the log.

A range of the log that was flushed is read at once and sorted here; one that compaction has made, of millions
of rows in files sorted by channel, is sorted by DuckDB, which moves to the disk what does not fit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice

import duckdb

from archiver.core.manifest import ranges
from archiver.core.segment import data_name
from archiver.parquet import read_rows
from archiver.search.index import At
from shared.archive_manifest import Manifest, Segment
from shared.archive_rows import ROW_SQL, Row, recorded_of
from shared.archive_store import Store
from shared.events import MessagePosted, Recorded
from shared.ids import ChannelId, ChannelKey, CommandId, Seq, StreamSeq, UserId, WorkspaceId

ROWS_AT_ONCE_MAX = 200_000
MEMORY = "512MB"

_KINDS = frozenset(
    {
        "message.posted",
        "message.edited",
        "message.deleted",
        "message.erased",
        "user.erased",
        "messages.expired",
        "reaction.added",
        "reaction.removed",
        "channel.created",
        "channel.renamed",
    }
)


def backlog(
    files: Store, manifest: Manifest, after: StreamSeq, size: int
) -> Iterator[tuple[list[Recorded], At]]:
    """Events behind a position, with the position that each batch reaches; the last one is the manifest's.

    Raises `FileNotFoundError` or duckdb's `IOException` when a segment was replaced meanwhile.
    """
    for (_, hi), parts in ranges(manifest.segments):
        if hi > after:
            rows = _rows(files, parts, after)
            while batch := list(islice(rows, size)):
                last = batch[-1]
                yield (
                    [it for row in batch if (it := _recorded(row))],
                    At(StreamSeq(last.stream_seq), last.ts_us),
                )


def _rows(files: Store, parts: Sequence[Segment], after: StreamSeq) -> Iterator[Row]:
    if sum(part.rows for part in parts) > ROWS_AT_ONCE_MAX:
        return _sorted_by_duckdb(files, parts, after)
    rows = (row for part in parts for row in read_rows(files, part) if row.stream_seq > after)
    return iter(sorted(rows, key=lambda row: row.stream_seq))


def _sorted_by_duckdb(files: Store, parts: Sequence[Segment], after: StreamSeq) -> Iterator[Row]:
    sql = f"SELECT {ROW_SQL} FROM read_parquet($files) WHERE stream_seq > $after ORDER BY stream_seq"  # noqa: S608
    with (
        tempfile.TemporaryDirectory(prefix="parley-search-") as spill,
        duckdb.connect(config={"threads": 1, "memory_limit": MEMORY, "temp_directory": spill}) as db,
    ):
        files.prepare(db)
        paths = [f"{files.location}/{data_name(part.path)}" for part in parts]
        found = db.execute(sql, {"files": paths, "after": after})
        while rows := found.fetchmany(10_000):
            yield from map(Row._make, rows)


def _recorded(row: Row) -> Recorded | None:
    """The event, if the index has a use for it. Most are plain messages, whose columns say everything."""
    if row.void is not None or row.kind not in _KINDS:
        return None
    if row.extras is not None or row.kind != "message.posted" or row.text is None:
        return recorded_of(row)
    event = MessagePosted(
        id=CommandId(row.id or ""),
        author=UserId(row.author),
        text=row.text,
        thread=None if row.thread is None else Seq(row.thread),
    )
    key = ChannelKey(WorkspaceId(row.workspace), ChannelId(row.channel))
    return Recorded(key, Seq(row.seq), StreamSeq(row.stream_seq), row.ts_us, event)
