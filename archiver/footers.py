"""What is known of segments without reading them again: their footers, of which each says what its rows are.

Footers are kept, because they take as long to read as a row group, and no file ever changes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from archiver import metrics
from shared.archive_manifest import RowKey
from shared.ids import ChannelKey, Seq

GROUPS_MAX = 16_384
"""Row groups that are known at a time, some 12 KB each: 200 MB, for files of 134 to 268 million events."""


class Place(NamedTuple):
    """Where in its file a row group is."""

    offset: int
    length: int


class Group(NamedTuple):
    """What the statistics of a row group say of its rows: each column's least and greatest value."""

    lowest: RowKey
    highest: RowKey
    place: Place

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


class Footer(NamedTuple):
    """Of one file."""

    metadata: pq.FileMetaData
    groups: list[Group]


class Footers:
    """What the partitions of a process know of their files; those longest not asked for go first."""

    def __init__(self, groups_max: int = GROUPS_MAX) -> None:
        self._groups_max = groups_max
        self._kept: OrderedDict[str, Footer] = OrderedDict()
        self._groups = 0
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._kept))

    def get(self, name: str) -> Footer | None:
        """The footer of a file with this name, if it is known."""
        with self._lock:
            if (footer := self._kept.get(name)) is not None:
                self._kept.move_to_end(name)
            return footer

    def read(self, name: str, content: pa.NativeFile, live: Collection[str]) -> Footer:
        """The footer of a file whose content, or its end, is open; kept if it is live. Raises OSError."""
        metadata = pq.read_metadata(content)
        footer = Footer(metadata, [_group(metadata, number) for number in range(metadata.num_row_groups)])
        metrics.FOOTERS_READ.inc()
        with self._lock:
            if name not in live:
                return footer
            self._groups += len(footer.groups) * (name not in self._kept)
            self._kept[name] = footer
            while self._groups > self._groups_max and len(self._kept) > 1:
                self._groups -= len(self._kept.popitem(last=False)[1].groups)
            metrics.FOOTER_GROUPS.set(self._groups)
        return footer

    def forget(self, names: Collection[str]) -> None:
        """These files are replaced: their statistics quote texts."""
        with self._lock:
            for name in names:
                if (footer := self._kept.pop(name, None)) is not None:
                    self._groups -= len(footer.groups)
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
