"""Files: their rows come back, their layout is the one that was measured, half of one never has a name."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow.parquet as pq

from archiver.core.segment import SegmentRange
from archiver.parquet import ROW_GROUP_ROWS, read_rows, write_empty_segment, write_segment
from shared.archive_manifest import EMPTY_SEGMENT, RowKey
from shared.archive_rows import Row, row_of
from shared.archive_store import LocalStore
from shared.events import encode
from shared.ids import StreamSeq
from tests.support.archive import created, hot_of, key_of, posted


def rows_of(channels: int, messages: int) -> list[Row]:
    """Rows in the order of a segment."""
    logs = {
        key_of(f"c{number}"): [encode(created()), *(encode(posted(f"nul \x00 {n}")) for n in range(messages))]
        for number in range(channels)
    }
    batch = hot_of(0, logs).cut()
    return [row_of(hot.recorded, hot.body) for _, _, events in batch.channels for hot in events]


def test_segments_read_back(tmp_path: Path) -> None:
    """Rows, name, description and checksum agree with the file."""
    rows = rows_of(3, 10)
    reached: list[str] = []
    files = LocalStore(tmp_path)
    files.make("data")
    segment = write_segment(files, rows, SegmentRange(StreamSeq(1), StreamSeq(33), 0, 0), reached.append)
    path = tmp_path / "data" / segment.path
    assert read_rows(files, segment) == rows
    assert (segment.rows, segment.bytes) == (33, path.stat().st_size)
    assert segment.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert segment.min_key == RowKey("acme", "c0", 1)
    assert segment.max_key == RowKey("acme", "c2", 11)
    assert reached == ["data-written", "data-synced", "data-linked", "data-directory-synced"]
    assert [path.name for path in path.parent.iterdir()] == [segment.path]


def test_the_layout_is_the_measured_one(tmp_path: Path) -> None:
    """Small row groups, zstd, dictionaries only where values repeat, a page index, the order declared.

    No footer quotes a text.
    """
    rows = rows_of(4, ROW_GROUP_ROWS)
    files = LocalStore(tmp_path)
    files.make("data")
    where = SegmentRange(StreamSeq(1), StreamSeq(len(rows)), 0, 0)
    segment = write_segment(files, rows, where, lambda _: None)
    facts = pq.ParquetFile(tmp_path / "data" / segment.path).metadata
    unordered = {"text", "id", "extras"}
    assert facts.num_row_groups == 5
    group = facts.row_group(0)
    assert group.num_rows == ROW_GROUP_ROWS
    columns = {group.column(index).path_in_schema: group.column(index) for index in range(group.num_columns)}
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    with_dictionary = {name for name, column in columns.items() if column.has_dictionary_page}
    assert with_dictionary <= {"workspace", "channel", "kind", "author", "void"}
    assert "DELTA_BINARY_PACKED" in columns["seq"].encodings
    assert "DELTA_LENGTH_BYTE_ARRAY" in columns["text"].encodings
    assert {name for name, column in columns.items() if not column.has_column_index} == unordered
    assert {name for name, column in columns.items() if not column.is_stats_set} == unordered
    assert all(column.has_offset_index for column in columns.values())
    assert [sorting.column_index for sorting in group.sorting_columns] == [0, 1, 2]
    assert facts.metadata[b"parley.hi"] == str(len(rows)).encode()


def test_the_empty_segment_is_written_once(tmp_path: Path) -> None:
    """It has no rows, and is not touched again: readers may have it open."""
    files = LocalStore(tmp_path)
    write_empty_segment(files)
    before = (tmp_path / EMPTY_SEGMENT).stat()
    write_empty_segment(files)
    assert (tmp_path / EMPTY_SEGMENT).stat().st_mtime_ns == before.st_mtime_ns
    assert pq.ParquetFile(tmp_path / EMPTY_SEGMENT).metadata.num_rows == 0
