"""Reads a few events of one channel out of segments: footers once, then the row groups that they lie in.

A page asks for fifty rows of one row group. DuckDB, asked for them, takes three times the CPU of reading the
group as it is (DESIGN.md). A group's keys are looked at before the rest of it is decoded. In a bucket every
look is a request: all footers that are missing are fetched at once, and then all row groups.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from archiver.core.segment import data_name, rows_of
from archiver.footers import Footer, Footers, Place
from archiver.kept_groups import Columns, KeptGroups
from archiver.parquet import DICTIONARY
from archiver.pieces import Parts, Piece, Pieces
from shared.archive_manifest import Manifest, RowKey, Segment
from shared.archive_rows import Row
from shared.archive_schema import SCHEMA
from shared.archive_store import Store
from shared.ids import ChannelKey, Seq

TAIL_BYTES = 16 * 1024
TAIL_GROUP_BYTES = 2_048
"""How long a footer is at most, as far as known: so much, and so much more for every 8,192 rows."""

_FOOTER_END = 8
_KEYS = list(RowKey._fields)
_REST = [name for name in SCHEMA.names if name not in _KEYS]


class Stretch(NamedTuple):
    """Consecutive events of a channel, both ends inclusive, and the segments that can hold them."""

    segments: Sequence[Segment]
    first: Seq
    last: Seq


class _Wanted(NamedTuple):
    stretch: Stretch
    segment: Segment
    number: int


@dataclass(frozen=True, slots=True)
class Known:
    """What all partitions of a process share to read segments."""

    footers: Footers = field(default_factory=Footers)
    groups: KeptGroups = field(default_factory=KeptGroups)
    pieces: Pieces = field(default_factory=Pieces)

    def close(self) -> None:
        """Wait for what is on its way."""
        self.pieces.close()


class SegmentReader:
    """Of one partition. What reads blocks; call it from any thread, off the loop."""

    def __init__(self, partition: Store, known: Known) -> None:
        self._partition = partition
        self._known = known
        self._live: set[str] = set()

    def follow(self, manifest: Manifest) -> None:
        """The manifest is another one: forget files that it does not name, and keep nothing more of them."""
        live = {self._label(segment) for segment in manifest.segments}
        gone = self._live - live
        self._live |= live
        self._live -= gone  # the same set, which whoever reads at this moment looks into
        if gone:
            self._known.footers.forget(gone)
            self._known.groups.forget(gone)

    def rows(
        self, key: ChannelKey, stretches: Sequence[Stretch], wanted: Collection[Seq] | None = None
    ) -> list[Row]:
        """A channel's events in these ascending stretches, or the wanted ones of them, in order.

        Raises FileNotFoundError and OSError.
        """
        footers = self._footers_of(dict.fromkeys(it for stretch in stretches for it in stretch.segments))
        plan = [
            _Wanted(stretch, segment, number)
            for stretch in stretches
            for segment in stretch.segments
            for number, group in enumerate(footers[segment].groups)
            if group.may_hold(key, stretch.first, stretch.last)
        ]
        tables = list(self._tables(key, footers, plan))
        if wanted is not None:
            ones = pa.array(wanted, pa.int64())
            tables = [table.filter(pc.is_in(table["seq"], ones)) for table in tables]
        return sorted((row for table in tables for row in rows_of(table)), key=lambda row: row.seq)

    def _tables(
        self, key: ChannelKey, footers: Mapping[Segment, Footer], plan: Sequence[_Wanted]
    ) -> Iterator[pa.Table]:
        """The rows of the channel in each group."""
        kept, missing = {}, []
        for stretch, segment, number in plan:
            columns = kept[segment, number] = self._known.groups.get(self._label(segment), number)
            if columns is None or (columns.rest is None and _within(columns.keys, key, stretch)):
                missing.append((segment, number))
        with contextlib.ExitStack() as opened:
            files = {
                segment: pq.ParquetFile(
                    opened.enter_context(content),
                    metadata=footers[segment].metadata,
                    read_dictionary=DICTIONARY,
                    pre_buffer=False,  # it takes 1.3 ms more to gather in threads what is at hand
                )
                for segment, content in self._contents(footers, dict.fromkeys(missing))
            }
            for stretch, segment, number in plan:
                columns = kept[segment, number]
                keys = columns.keys if columns else _read(files[segment], number, _KEYS)
                rest = columns.rest if columns else None
                rows = _within(keys, key, stretch)
                if rows and rest is None:  # else it is on the edge of another channel
                    rest = _read(files[segment], number, _REST)
                if columns is None or columns.rest is not rest:
                    columns = kept[segment, number] = Columns(keys, rest)
                    self._known.groups.keep(self._label(segment), number, columns, self._live)
                if rows and rest is not None:
                    table = pa.Table.from_arrays(keys.columns + rest.columns, names=_KEYS + _REST)
                    yield table.slice(rows.start, len(rows))

    def _footers_of(self, segments: Iterable[Segment]) -> dict[Segment, Footer]:
        known = {segment: self._known.footers.get(self._label(segment)) for segment in segments}
        missing = [segment for segment, footer in known.items() if footer is None]
        for segment, content in self._ends(missing):
            with content:
                known[segment] = self._known.footers.read(self._label(segment), content, self._live)
        return {segment: footer for segment, footer in known.items() if footer is not None}

    def _ends(self, segments: Sequence[Segment]) -> Iterator[tuple[Segment, pa.NativeFile]]:
        """Each with a content that has its footer."""
        fetch = self._known.pieces.fetch
        ends = fetch(self._partition, [_end(segment, _tail_bytes(segment)) for segment in segments])
        lengths = [int.from_bytes(end[-_FOOTER_END:][:4], "little") + _FOOTER_END for end in ends]
        longer = [number for number, end in enumerate(ends) if lengths[number] > len(end)]
        again = [_end(segments[number], lengths[number]) for number in longer]
        for number, end in zip(longer, fetch(self._partition, again), strict=True):
            ends[number] = end
        for segment, end in zip(segments, ends, strict=True):
            yield segment, pa.BufferReader(end)

    def _contents(
        self, footers: Mapping[Segment, Footer], groups: Iterable[tuple[Segment, int]]
    ) -> Iterator[tuple[Segment, pa.NativeFile]]:
        """What these row groups are read from, each segment once."""
        wanted = [(segment, footers[segment].groups[number].place) for segment, number in groups]
        pieces = [Piece(data_name(segment.path), place) for segment, place in wanted]
        parts: dict[Segment, dict[int, bytes]] = {}
        for (segment, place), content in zip(
            wanted, self._known.pieces.fetch(self._partition, pieces), strict=True
        ):
            parts.setdefault(segment, {})[place.offset] = content
        for segment, of_segment in parts.items():
            yield segment, pa.PythonFile(Parts(segment.bytes, of_segment), mode="r")

    def _label(self, segment: Segment) -> str:
        return f"{self._partition.location}/{segment.path}"


def _read(file: pq.ParquetFile, number: int, columns: Sequence[str]) -> pa.Table:
    return file.read_row_group(number, columns=columns, use_threads=False)


def _end(segment: Segment, length: int) -> Piece:
    return Piece(data_name(segment.path), Place(segment.bytes - length, length))


def _tail_bytes(segment: Segment) -> int:
    return min(segment.bytes, TAIL_BYTES + TAIL_GROUP_BYTES * (segment.rows // 8_192))


def _within(keys: pa.Table, key: ChannelKey, stretch: Stretch) -> range:
    """The rows of these events."""
    first = _below(keys, RowKey(*key, stretch.first), 0)
    return range(first, _below(keys, RowKey(*key, stretch.last + 1), first))


def _below(table: pa.Table, key: RowKey, low: int) -> int:
    """How many rows come before a key, if the first `low` do."""
    high = table.num_rows
    while low < high:
        middle = (low + high) // 2
        if _is_below(table, middle, key):
            low = middle + 1
        else:
            high = middle
    return low


def _is_below(table: pa.Table, index: int, key: RowKey) -> bool:
    """Whether a row comes before a key; no more of it is read than that takes."""
    for number, wanted in enumerate(key):
        value = table.column(number)[index].as_py()
        if value != wanted:
            return bool(value < wanted)
    return False
