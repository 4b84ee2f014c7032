"""Segments as files: rows to Parquet and back.

A file is made in memory (a flush has a few megabytes, a part of a merged run some fifty) and created in the
store as a whole. The settings are measured (DESIGN.md): small row groups are what a page of one
channel needs, dictionaries pay only where values repeat, deltas everywhere else, statistics where they can
exclude something, and the page index is for later readers.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from archiver.core.segment import (
    SegmentRange,
    data_name,
    describe,
    describe_table,
    rows_of,
    segment_name,
    table_of,
)
from shared.archive_manifest import EMPTY_SEGMENT, Segment
from shared.archive_rows import Row
from shared.archive_schema import SCHEMA, SCHEMA_VERSION
from shared.archive_store import Reached, Store

ROW_GROUP_ROWS = 8_192
"""What a page has to decode for each run that its channel is in."""

DICTIONARY = ["workspace", "channel", "kind", "author", "void"]
"""Columns of few values. Read as such, they are not written out row by row."""

UNORDERED = frozenset({"text", "id", "extras"})
"""Columns whose least and greatest value exclude nothing: footers do not quote them."""

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
    content = _encoded(table_of(rows), where)
    name, digest = _created(partition, content, where, reached)
    return describe(rows, where, name, len(content), digest)


def write_table(partition: Store, table: pa.Table, where: SegmentRange, reached: Reached) -> Segment:
    """The same for a table of rows."""
    content = _encoded(table, where)
    name, digest = _created(partition, content, where, reached)
    return describe_table(table, where, name, len(content), digest)


def read_rows(partition: Store, segment: Segment) -> list[Row]:
    """All rows of a segment, in its order."""
    return rows_of(open_segment(partition, segment).read())


def stream_rows(partition: Store, segment: Segment) -> Iterator[Row]:
    """The same, a row group at a time."""
    file = open_segment(partition, segment)
    for number in range(file.num_row_groups):
        yield from rows_of(file.read_row_group(number))


def open_segment(partition: Store, segment: Segment) -> pq.ParquetFile:
    """A segment to read piece by piece; its bytes are in memory."""
    return pq.ParquetFile(pa.BufferReader(partition.read(data_name(segment.path))))


def write_empty_segment(archive: Store) -> None:
    """The file without rows that makes every list of files valid."""
    if not archive.exists(EMPTY_SEGMENT):
        archive.replace(EMPTY_SEGMENT, _encoded(table_of([]), None))


def _created(partition: Store, content: bytes, where: SegmentRange, reached: Reached) -> tuple[str, str]:
    name = segment_name(where, secrets.token_hex(4))
    partition.create(data_name(name), content, reached)
    return name, hashlib.sha256(content).hexdigest()


def _encoded(table: pa.Table, where: SegmentRange | None) -> bytes:
    facts = {"parley.schema_version": str(SCHEMA_VERSION)}
    if where is not None:
        facts |= {f"parley.{name}": str(getattr(where, name)) for name in ("lo", "hi", "level")}
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata(facts),
        sink,
        compression="zstd",
        compression_level=1,
        row_group_size=ROW_GROUP_ROWS,
        data_page_version="2.0",
        use_dictionary=DICTIONARY,
        column_encoding=_DELTAS,
        write_statistics=[name for name in SCHEMA.names if name not in UNORDERED],
        write_page_index=True,
        sorting_columns=[
            pq.SortingColumn(SCHEMA.get_field_index(n)) for n in ("workspace", "channel", "seq")
        ],
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content
