"""Reads a few events of one channel out of segments: a footer once, then the row groups that they lie in.

A page asks for fifty rows of one row group. DuckDB, asked for them, takes three times the CPU of reading the
group as it is (DESIGN.md). Footers are kept, because they take as long to read as a row group, and no file
ever changes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from archiver import metrics
from archiver.core.segment import data_name, key_at, rows_of
from shared.archive_manifest import RowKey, Segment
from shared.archive_rows import Row
from shared.archive_schema import SCHEMA
from shared.archive_store import Store
from shared.ids import ChannelKey, Seq

GROUPS_MAX = 16_384
"""Row groups that are known at a time, some 12 KB each: 200 MB, for files of 134 to 268 million events."""

_KEYS = list(RowKey._fields)
_REST = [name for name in SCHEMA.names if name not in _KEYS]


class _Group(NamedTuple):
    """What the statistics of a row group say of its rows: each column's least and greatest value."""

    lowest: RowKey
    highest: RowKey

    def may_hold(self, key: ChannelKey, first: Seq, last: Seq) -> bool:
        low, high = self.lowest, self.highest
        if not low.workspace <= key.workspace <= high.workspace:
            return False
        if low.workspace != high.workspace:  # channels and seqs are of several workspaces
            return True
        if not low.channel <= key.channel <= high.channel:
            return False
        return low.channel != high.channel or (low.seq <= last and high.seq >= first)


class _Footer(NamedTuple):
    metadata: pq.FileMetaData
    groups: list[_Group]


class Footers:
    """What the partitions of a process know of their files; those longest not asked for go first."""

    def __init__(self, groups_max: int = GROUPS_MAX) -> None:
        self._groups_max = groups_max
        self._kept: OrderedDict[str, _Footer] = OrderedDict()
        self._groups = 0
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._kept))

    def of(self, name: str, content: pa.NativeFile) -> _Footer:
        """The footer of a file with this name, of which the content is open. Raises OSError."""
        with self._lock:
            if (footer := self._kept.get(name)) is not None:
                self._kept.move_to_end(name)
                return footer
        metadata = pq.read_metadata(content)
        footer = _Footer(metadata, [_group(metadata, number) for number in range(metadata.num_row_groups)])
        metrics.FOOTERS_READ.inc()
        with self._lock:
            self._groups += len(footer.groups) * (name not in self._kept)
            self._kept[name] = footer
            while self._groups > self._groups_max and len(self._kept) > 1:
                self._groups -= len(self._kept.popitem(last=False)[1].groups)
            metrics.FOOTER_GROUPS.set(self._groups)
        return footer


class SegmentReader:
    """Of one partition. Everything blocks; call it from any thread, off the loop."""

    def __init__(self, partition: Store, footers: Footers) -> None:
        self._partition = partition
        self._footers = footers

    def rows(
        self,
        segments: Sequence[Segment],
        key: ChannelKey,
        first: Seq,
        last: Seq,
        wanted: Collection[Seq] | None = None,
    ) -> list[Row]:
        """A channel's events with these seqs, both inclusive, or the wanted ones of them, in order.

        Raises FileNotFoundError and OSError.
        """
        tables = [table for segment in segments for table in self._of(segment, key, first, last)]
        if wanted is not None:
            ones = pa.array(wanted, pa.int64())
            tables = [table.filter(pc.is_in(table["seq"], ones)) for table in tables]
        return sorted((row for table in tables for row in rows_of(table)), key=lambda row: row.seq)

    def _of(self, segment: Segment, key: ChannelKey, first: Seq, last: Seq) -> Iterator[pa.Table]:
        with self._partition.reader(data_name(segment.path), segment.bytes) as content:
            footer = self._footers.of(f"{self._partition.location}/{segment.path}", content)
            groups = [
                number for number, group in enumerate(footer.groups) if group.may_hold(key, first, last)
            ]
            if not groups:
                return
            file = pq.ParquetFile(content, metadata=footer.metadata, pre_buffer=True)
            for number in groups:
                keys = file.read_row_group(number, columns=_KEYS, use_threads=False)
                low, high = _below(keys, RowKey(*key, first)), _below(keys, RowKey(*key, last + 1))
                if (
                    low < high
                ):  # else it was on the edge of another channel: the rest takes four times as long
                    rest = file.read_row_group(number, columns=_REST, use_threads=False)
                    table = pa.Table.from_arrays(keys.columns + rest.columns, names=_KEYS + _REST)
                    yield table.slice(low, high - low)


def _group(metadata: pq.FileMetaData, number: int) -> _Group:
    group = metadata.row_group(number)
    bounds = [group.column(column).statistics for column in range(len(RowKey._fields))]
    return _Group(RowKey(*(one.min for one in bounds)), RowKey(*(one.max for one in bounds)))


def _below(table: pa.Table, key: RowKey) -> int:
    """How many rows come before a key."""
    low, high = 0, table.num_rows
    while low < high:
        middle = (low + high) // 2
        if key_at(table, middle) < key:
            low = middle + 1
        else:
            high = middle
    return low
