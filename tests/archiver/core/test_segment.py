"""Segments: rows to columns and back, and names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from archiver.core.segment import (
    SCHEMA,
    SegmentRange,
    describe,
    parse_segment_name,
    rows_of,
    segment_name,
    table_of,
)
from shared.archive_manifest import RowKey
from shared.archive_rows import Row
from shared.ids import StreamSeq

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INT = st.integers(-(2**63), 2**63 - 1)
ROWS = st.builds(
    Row,
    workspace=TEXT,
    channel=TEXT,
    seq=st.integers(1, 2**53),
    kind=TEXT,
    author=TEXT,
    ts_us=st.integers(0, 2**52),
    text=st.none() | TEXT,
    ref=st.none() | INT,
    thread=st.none() | INT,
    id=st.none() | st.uuids().map(str),
    void=st.none() | TEXT,
    extras=st.none() | TEXT,
    stream_seq=st.integers(1, 2**53),
)


@given(st.lists(ROWS, max_size=5))
def test_rows_survive_columns(rows: list[Row]) -> None:
    """Any rows come back as they were, and the table has the one schema."""
    table = table_of(rows)
    assert table.schema == SCHEMA
    assert rows_of(table) == rows


@given(st.integers(1, 10**15), st.integers(1, 10**15), st.integers(0, 9), st.integers(0, 9999))
def test_names_say_what_they_hold(lo: int, hi: int, level: int, part: int) -> None:
    """A name reads back; anything else is nobody's."""
    where = SegmentRange(StreamSeq(lo), StreamSeq(hi), level, part)
    name = segment_name(where, "0a1b2c3d")
    assert parse_segment_name(name) == where
    assert parse_segment_name(name + ".bak") is None


@given(st.lists(ROWS, min_size=1, max_size=5))
def test_descriptions_bound_the_rows(rows: list[Row]) -> None:
    """The manifest's entry gives the first and last key and the times between which all rows lie."""
    entry = describe(rows, SegmentRange(StreamSeq(1), StreamSeq(5), 0, 0), "x", 9, "00")
    assert entry.min_key == RowKey(*rows[0][:3])
    assert entry.max_key == RowKey(*rows[-1][:3])
    assert all(entry.min_us <= row.ts_us <= entry.max_us for row in rows)
