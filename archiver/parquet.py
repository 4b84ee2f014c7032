"""Segments as files: rows to Parquet and back.

A file is made in memory (a flush has a few megabytes, a part of a merged run some fifty) and created in the
store as a whole. The settings are measured (facts of 2026-11-25): small row groups are what a page of one
channel needs, dictionaries pay only where values repeat, deltas everywhere else, and the page index is for
later readers.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from archiver.core.segment import (
    SCHEMA,
    SCHEMA_VERSION,
    SegmentRange,
    data_name,
    describe,
    rows_of,
    segment_name,
    table_of,
)
from shared.archive_manifest import EMPTY_SEGMENT, Segment
from shared.archive_rows import Row
from shared.archive_store import Reached, Store

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


def write_segment(partition: Store, rows: Sequence[Row], where: SegmentRange, reached: Reached) -> Segment:
    """Write rows, which are in order and not empty, durably under a fresh name; returns its description."""
    facts = {
        "parley.schema_version": str(SCHEMA_VERSION),
        "parley.lo": str(where.lo),
        "parley.hi": str(where.hi),
        "parley.level": str(where.level),
    }
    content = _encoded(table_of(rows), facts)
    name = segment_name(where, secrets.token_hex(4))
    partition.create(data_name(name), content, reached)
    return describe(rows, where, name, len(content), hashlib.sha256(content).hexdigest())


def read_rows(partition: Store, segment: Segment) -> list[Row]:
    """All rows of a segment, in its order."""
    return rows_of(pq.ParquetFile(pa.BufferReader(partition.read(data_name(segment.path)))).read())


def write_empty_segment(archive: Store) -> None:
    """The file without rows that makes every list of files valid."""
    if not archive.exists(EMPTY_SEGMENT):
        archive.replace(EMPTY_SEGMENT, _encoded(table_of([]), {}))


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
