"""Writing a segment so that it survives what comes next: bytes, fsync, name, fsync of the directory.

No data library syncs its files, so the file is made in memory (a flush is a few megabytes) and written here.
The settings are measured (facts of 2026-11-25): small row groups are what a page of one channel needs,
dictionaries pay only where values repeat, deltas everywhere else, and the page index is for later readers.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from archiver.core.segment import (
    SCHEMA,
    SCHEMA_VERSION,
    SegmentRange,
    describe,
    rows_of,
    segment_name,
    table_of,
)
from shared.archive_manifest import EMPTY_SEGMENT, Segment
from shared.archive_rows import Row

Reached = Callable[[str], None]
"""Told the name of each point of the commit protocol as it is passed; tests kill the process there."""

TEMPORARY_PREFIX = ".tmp-"
ROW_GROUP_ROWS = 8192
_DICTIONARY = ["workspace", "channel", "kind", "author", "void"]
_DELTAS = {
    "seq": "DELTA_BINARY_PACKED",
    "ts": "DELTA_BINARY_PACKED",
    "ref": "DELTA_BINARY_PACKED",
    "thread": "DELTA_BINARY_PACKED",
    "stream_seq": "DELTA_BINARY_PACKED",
    "text": "DELTA_LENGTH_BYTE_ARRAY",
    "extras": "DELTA_LENGTH_BYTE_ARRAY",
    "id": "DELTA_BYTE_ARRAY",
}


def write_segment(directory: Path, rows: Sequence[Row], where: SegmentRange, reached: Reached) -> Segment:
    """Write rows, which are in order and not empty, durably under a fresh name; returns its description."""
    facts = {
        "parley.schema_version": str(SCHEMA_VERSION),
        "parley.lo": str(where.lo),
        "parley.hi": str(where.hi),
        "parley.level": str(where.level),
    }
    content = _encoded(table_of(rows), facts)
    name = segment_name(where, secrets.token_hex(4))
    write_durably(directory / name, content, reached)
    return describe(rows, where, name, len(content), hashlib.sha256(content).hexdigest())


def read_rows(path: Path) -> list[Row]:
    """All rows of a segment, in its order."""
    return rows_of(pq.ParquetFile(path).read())


def write_empty_segment(directory: Path) -> None:
    """The file without rows that makes every list of files valid."""
    if not (directory / EMPTY_SEGMENT).exists():
        write_durably(directory / EMPTY_SEGMENT, _encoded(table_of([]), {}), lambda _: None)


def write_durably(path: Path, content: bytes, reached: Reached) -> None:
    """Put `content` under `path` so that after a crash there is all of it or nothing."""
    temporary = path.with_name(TEMPORARY_PREFIX + secrets.token_hex(8))
    try:
        write_synced(temporary, content, reached)
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    reached("data-renamed")
    sync_directory(path.parent)
    reached("data-directory-synced")


def write_synced(path: Path, content: bytes, reached: Reached) -> None:
    """A new file whose bytes are on the disk when this returns."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        reached("data-written")
        os.fsync(file.fileno())
    reached("data-synced")


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _encoded(table: pa.Table, facts: dict[str, str]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata(facts),
        sink,
        compression="zstd",
        compression_level=3,
        row_group_size=ROW_GROUP_ROWS,
        data_page_version="2.0",
        use_dictionary=_DICTIONARY,
        column_encoding=_DELTAS,
        write_page_index=True,
        sorting_columns=[
            pq.SortingColumn(SCHEMA.get_field_index(n)) for n in ("workspace", "channel", "seq")
        ],
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content
