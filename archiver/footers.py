"""What is known of segments without reading them again: their footers, of which each says what its rows are.

Footers are kept, because they take as long to read as a row group, and no file ever changes.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from archiver import metrics
from shared.archive_manifest import RowKey
from shared.ids import ChannelKey, Seq

GROUPS_MAX = 16_384
"""Row groups that are known at a time, some 12 KB each: 200 MB, for files of 134 to 268 million events."""

Why = Literal["page", "ahead"]
"""For whom a footer is read: for a page that waits for it, or for those that may come."""


class Place(NamedTuple):
    """Where in its file a row group is."""

    offset: int
    length: int


class Group(NamedTuple):
    """What the statistics of a row group say of its rows: each column's least and greatest value."""

    lowest: RowKey
    highest: RowKey
    place: Place

    @property
    def first_at_least(self) -> RowKey:
        """A key that is not above the first row's."""
        return self._known_of(self.lowest)

    @property
    def last_at_least(self) -> RowKey:
        """A key that is not above the last row's; between the groups of a file these ascend."""
        return self._known_of(self.highest)

    def _known_of(self, bounds: RowKey) -> RowKey:
        """Columns behind one that has several values may have their bounds in any row."""
        if self.lowest.workspace != self.highest.workspace:
            return RowKey(bounds.workspace, "", 0)
        if self.lowest.channel != self.highest.channel:
            return RowKey(bounds.workspace, bounds.channel, 0)
        return bounds

    def may_hold(self, key: ChannelKey, first: Seq, last: Seq) -> bool:
        """Whether some of these events can be in it."""
        low, high = self.lowest, self.highest
        if not low.workspace <= key.workspace <= high.workspace:
            return False
        if low.workspace != high.workspace:  # channels and seqs are of several workspaces
            return True
        if not low.channel <= key.channel <= high.channel:
            return False
        return low.channel != high.channel or (low.seq <= last and high.seq >= first)


class Footer:
    """Of one file, whose row groups are in order; the statistics of most of them nobody ever asks for."""

    def __init__(self, metadata: pq.FileMetaData) -> None:
        self.metadata = metadata
        self._groups: list[Group | None] = [None] * metadata.num_row_groups

    def __len__(self) -> int:
        return len(self._groups)

    def group(self, number: int) -> Group:
        """A row group."""
        found = self._groups[number]
        if found is None:
            found = self._groups[number] = _group(self.metadata, number)
        return found

    def may_hold(self, key: ChannelKey, first: Seq, last: Seq) -> Iterator[int]:
        """The numbers of the row groups in which some of these events can be.

        Where `last_at_least` reaches the first of these events, groups begin that end behind it. The group
        before may do so, too, since more is not known of its end; any group before that one cannot.
        """
        numbers = range(len(self))
        known = bisect_left(numbers, RowKey(*key, first), key=lambda it: self.group(it).last_at_least)
        for number in numbers[max(0, known - 1) :]:
            group = self.group(number)
            if group.first_at_least > RowKey(*key, last):
                return
            if group.may_hold(key, first, last):
                yield number


class Footers:
    """What the partitions of a process know of their files; those longest not asked for go first."""

    def __init__(self, groups_max: int = GROUPS_MAX) -> None:
        self._groups_max = groups_max
        self._kept: OrderedDict[str, Footer] = OrderedDict()
        self._groups = 0
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._kept))

    @property
    def room(self) -> int:
        """Row groups that can be known besides, without forgetting any."""
        return self._groups_max - self._groups

    def get(self, name: str) -> Footer | None:
        """The footer of a file with this name, if it is known."""
        with self._lock:
            if (footer := self._kept.get(name)) is not None:
                self._kept.move_to_end(name)
            return footer

    def read(self, name: str, content: pa.NativeFile, live: Collection[str], why: Why = "page") -> Footer:
        """The footer of a file whose content, or its end, is open; kept if it is live. Raises OSError."""
        footer = Footer(pq.read_metadata(content))
        metrics.FOOTERS_READ.labels(why).inc()
        with self._lock:
            if name not in live:
                return footer
            self._groups += len(footer) * (name not in self._kept)
            self._kept[name] = footer
            while self._groups > self._groups_max and len(self._kept) > 1:
                self._groups -= len(self._kept.popitem(last=False)[1])
            metrics.FOOTER_GROUPS.set(self._groups)
        return footer

    def forget(self, names: Collection[str]) -> None:
        """These files are replaced: older ones quote texts."""
        with self._lock:
            for name in names:
                if (footer := self._kept.pop(name, None)) is not None:
                    self._groups -= len(footer)
            metrics.FOOTER_GROUPS.set(self._groups)


def _group(metadata: pq.FileMetaData, number: int) -> Group:
    group = metadata.row_group(number)
    bounds = [group.column(column).statistics for column in range(len(RowKey._fields))]
    first, last = group.column(0), group.column(group.num_columns - 1)
    offset = first.dictionary_page_offset or first.data_page_offset
    end = (last.dictionary_page_offset or last.data_page_offset) + last.total_compressed_size
    return Group(
        RowKey(*(one.min for one in bounds)),
        RowKey(*(one.max for one in bounds)),
        Place(offset, end - offset),
    )
