"""Row groups that pages were read from, as columns in memory: reading one again takes 4 ms, or a request.

One that was asked for again outlives those that were needed once: a page of a quiet channel reads some to
which nobody comes back. A group goes when its file leaves the manifest, so that a text that was erased is
here no longer than there.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection

from archiver import metrics
from archiver.columns import Columns
from archiver.settings import PAGE_CACHE_BYTES

AGAIN_SHARE = 0.8
"""How much of the room is for groups that were asked for again."""


class _Groups(OrderedDict[tuple[str, int], Columns]):
    """By file and number, those longest not asked for first."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        """In bytes."""

    def put(self, name: tuple[str, int], columns: Columns) -> None:
        """Have it, as the last one asked for."""
        self.take(name)
        self[name] = columns
        self.size += columns.size

    def take(self, name: tuple[str, int]) -> Columns | None:
        """Have it no more."""
        columns = self.pop(name, None)
        self.size -= columns.size if columns else 0
        return columns


class KeptGroups:
    """Of all partitions of a process. May be used from any thread."""

    def __init__(self, bytes_max: int = PAGE_CACHE_BYTES) -> None:
        self._bytes_max = bytes_max
        self._once, self._again = _Groups(), _Groups()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """In bytes."""
        return self._once.size + self._again.size

    def get(self, label: str, number: int) -> Columns | None:
        """A group of a file, if it is kept."""
        name = (label, number)
        with self._lock:
            found = self._again.take(name) or self._once.take(name)
            if found is not None:
                self._again.put(name, found)
                self._make_room()
        metrics.GROUPS_READ.labels("kept" if found else "file").inc()
        return found

    def keep(self, label: str, number: int, columns: Columns, live: Collection[str]) -> None:
        """Keep a group, if its file is live."""
        name = (label, number)
        with self._lock:
            if label not in live:
                return
            (self._again if name in self._again else self._once).put(name, columns)
            self._make_room()
            metrics.GROUPS_KEPT_BYTES.set(self.size)

    def forget(self, labels: Collection[str]) -> None:
        """These files are replaced."""
        with self._lock:
            for groups in (self._once, self._again):
                for name in [name for name in groups if name[0] in labels]:
                    groups.take(name)
            metrics.GROUPS_KEPT_BYTES.set(self.size)

    def _make_room(self) -> None:
        while self._again.size > self._bytes_max * AGAIN_SHARE:
            name = next(iter(self._again))
            self._once.put(name, self._again[name])
            self._again.take(name)
        while self.size > self._bytes_max:
            self._once.take(next(iter(self._once)))
