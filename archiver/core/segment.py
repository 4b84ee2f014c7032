"""What a segment is: its schema, the order of its rows, its name, and what the manifest says about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from shared.archive_manifest import RowKey, Segment
from shared.archive_rows import Row
from shared.archive_schema import SCHEMA
from shared.ids import StreamSeq

_NAME = re.compile(r"(\d{16})-(\d{16})\.L(\d+)\.p(\d{4})\.[0-9a-f]{8}\.parquet")


class SegmentRange(NamedTuple):
    """What a segment's name says."""

    lo: StreamSeq
    hi: StreamSeq
    level: int
    part: int


def data_name(path: str) -> str:
    """Where a segment is in its partition's part of the archive."""
    return f"data/{path}"


def segment_name(where: SegmentRange, nonce: str) -> str:
    """A name that is never used twice: `nonce` is 8 random hex digits."""
    return f"{where.lo:016d}-{where.hi:016d}.L{where.level}.p{where.part:04d}.{nonce}.parquet"


def parse_segment_name(name: str) -> SegmentRange | None:
    """The inverse of `segment_name`, without the nonce; None for any other name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    lo, hi, level, part = (int(group) for group in match.groups())
    return SegmentRange(StreamSeq(lo), StreamSeq(hi), level, part)


def row_key(row: Row) -> RowKey:
    """Where a row stands in a segment."""
    return RowKey(row.workspace, row.channel, row.seq)


def table_of(rows: Sequence[Row]) -> pa.Table:
    """The rows as columns of `SCHEMA`, in the order given."""
    columns = dict(zip(Row._fields, zip(*rows, strict=True), strict=True)) if rows else {}
    arrays = []
    for field in SCHEMA:
        values: Sequence[object] = columns.get("ts_us" if field.name == "ts" else field.name, ())
        if field.name == "id":
            arrays.append(_uuids(values))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def rows_of(table: pa.Table | pa.RecordBatch) -> list[Row]:
    """The inverse of `table_of`."""
    columns = [_values(table.column(field.name), field) for field in SCHEMA]
    return [Row(*values) for values in zip(*columns, strict=True)]


def describe(rows: Sequence[Row], where: SegmentRange, path: str, size: int, sha256: str) -> Segment:
    """The manifest's entry for a file of these rows, which are in order and not empty."""
    times = [row.ts_us for row in rows]
    return Segment(
        path=path,
        **where._asdict(),
        rows=len(rows),
        bytes=size,
        min_key=row_key(rows[0]),
        max_key=row_key(rows[-1]),
        min_us=min(times),
        max_us=max(times),
        sha256=sha256,
    )


def describe_table(table: pa.Table, where: SegmentRange, path: str, size: int, sha256: str) -> Segment:
    """The same for a table of such rows."""
    times = pc.min_max(table.column("ts").cast(pa.int64()))
    return Segment(
        path=path,
        **where._asdict(),
        rows=table.num_rows,
        bytes=size,
        min_key=key_at(table, 0),
        max_key=key_at(table, table.num_rows - 1),
        min_us=times["min"].as_py(),
        max_us=times["max"].as_py(),
        sha256=sha256,
    )


def key_at(table: pa.Table, index: int) -> RowKey:
    """Where a row of a table stands in a segment."""
    return RowKey(*(table.column(name)[index].as_py() for name in RowKey._fields))


def _uuids(values: Sequence[object]) -> pa.Array:
    """From their texts; all in one, which takes a third of the time of one by one, if there is no null."""
    if None in values:
        each = [None if value is None else bytes.fromhex(str(value).replace("-", "")) for value in values]
        storage = pa.array(each, pa.binary(16))
    else:
        whole = bytes.fromhex("".join(map(str, values)).replace("-", ""))
        storage = pa.Array.from_buffers(pa.binary(16), len(values), [None, pa.py_buffer(whole)])
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)


def _values(column: pa.ChunkedArray | pa.Array, field: pa.Field) -> list[object]:
    """As plain types first: Python's values are made one by one, and take long for others."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if field.name == "id":
        return _uuid_texts(column.storage)
    if isinstance(column, pa.DictionaryArray):
        return _words(column)
    if field.name == "ts":
        column = column.view(pa.int64())
    values: list[object] = column.to_pylist()
    return values


def _words(column: pa.DictionaryArray) -> list[object]:
    """Each word that occurs is made once: in a page they are few."""
    places, dictionary = column.indices.to_pylist(), column.dictionary
    words = {place: None if place is None else dictionary[place].as_py() for place in set(places)}
    return [words[place] for place in places]


def _uuid_texts(storage: pa.FixedSizeBinaryArray) -> list[object]:
    """The inverse of `_uuids`."""
    if storage.null_count:
        return [None if value is None else _uuid_text(value.hex()) for value in storage.to_pylist()]
    width = storage.type.byte_width
    digits = storage.buffers()[1].slice(storage.offset * width, len(storage) * width).to_pybytes().hex()
    return [_uuid_text(digits[at : at + 2 * width]) for at in range(0, len(digits), 2 * width)]


def _uuid_text(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
