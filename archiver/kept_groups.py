"""Row groups that pages were read from, as columns in memory: reading one again takes 4 ms, or a request.

A group goes when its file leaves the manifest, so that a text that was erased is here no longer than there.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection
from typing import NamedTuple

import pyarrow as pa

from archiver import metrics

BYTES_MAX = 256 * 1024**2
"""Some 230 groups of 8,192 events."""


class Columns(NamedTuple):
    """Of a row group: its keys, and the rest if it was wanted."""

    keys: pa.Table
    rest: pa.Table | None

    @property
    def size(self) -> int:
        """In bytes."""
        return int(self.keys.nbytes + (self.rest.nbytes if self.rest is not None else 0))


class KeptGroups:
    """Of all partitions of a process; those longest not asked for go first. May be used from any thread."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._kept: OrderedDict[tuple[str, int], Columns] = OrderedDict()
        self._lock = threading.Lock()
        self.size = 0
        """In bytes."""

    def get(self, label: str, number: int) -> Columns | None:
        """A group of a file, if it is kept."""
        with self._lock:
            found = self._kept.get((label, number))
            if found is not None:
                self._kept.move_to_end((label, number))
        metrics.GROUPS_READ.labels("kept" if found else "file").inc()
        return found

    def keep(self, label: str, number: int, columns: Columns, live: Collection[str]) -> None:
        """Keep a group, if its file is live."""
        with self._lock:
            if label not in live:
                return
            before = self._kept.pop((label, number), None)
            self._kept[label, number] = columns
            self.size += columns.size - (before.size if before else 0)
            while self.size > self._bytes_max:
                self.size -= self._kept.popitem(last=False)[1].size
            metrics.GROUPS_KEPT_BYTES.set(self.size)

    def forget(self, labels: Collection[str]) -> None:
        """These files are replaced."""
        with self._lock:
            for key in [key for key in self._kept if key[0] in labels]:
                self.size -= self._kept.pop(key).size
            metrics.GROUPS_KEPT_BYTES.set(self.size)
