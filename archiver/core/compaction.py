"""Which runs are merged next. A run is a range of the stream, sorted by key: one segment or several parts.

What a page of a quiet channel costs is the number of runs that it lies in. So that number is bounded,
whatever the traffic: as soon as there are more than `RUNS_MAX`, neighbours are merged. Those are chosen whose
largest outgrows the others together the least: a large run is written again only when what joins it is about
as large. With 20,000 flushes of equal, random and bursty sizes, each event is written 8 to 9 times in all,
and there are 6.6 runs on average; merging the newest ones by a ratio of sizes, as is usual, wrote each 10 to
10,000 times, depending on the sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from archiver.core.manifest import ranges
from shared.archive_manifest import Segment
from shared.ids import StreamSeq

RUNS_MAX = 8
RUN_ROWS_MAX = 64_000_000
"""A run that has so many events is left alone for good: merging it would take minutes for one part in ten."""

GROUP_MAX = 64
"""Runs that are merged at once: of thousands, as an interrupted archiver may find them, some after some."""

PART_ROWS = 1_000_000
"""A merged run is cut by key into parts of so many rows, some 40 MB."""

LEVEL_ROWS = (1_000_000, 16_000_000)
"""Levels of merged runs by their events: 1 below the first bound, 2 below the second, 3 from there."""


class Run(NamedTuple):
    """Every event of a range of the stream, in order of key."""

    lo: StreamSeq
    hi: StreamSeq
    parts: tuple[Segment, ...]

    @property
    def rows(self) -> int:
        """How many events it has."""
        return self.hi - self.lo + 1


def runs_of(segments: Iterable[Segment]) -> list[Run]:
    """The runs of a manifest, oldest first."""
    return [Run(lo, hi, tuple(parts)) for (lo, hi), parts in ranges(segments)]


def due(segments: Iterable[Segment]) -> list[Run]:
    """The neighbours to merge, oldest first; none if there are few enough."""
    runs = runs_of(segments)
    sizes = [run.rows for run in runs]
    if sum(size < RUN_ROWS_MAX for size in sizes) <= RUNS_MAX:
        return []
    first, end = min(_groups(sizes), default=(0.0, 0, 0, 0))[2:]
    return runs[first:end]


def _groups(sizes: Sequence[int]) -> Iterator[tuple[float, int, int, int]]:
    """Neighbours that may be merged: by how much the largest outgrows the rest, their size, first and end."""
    for first, size in enumerate(sizes):
        total = largest = size
        for end in range(first + 1, min(first + GROUP_MAX, len(sizes))):
            if max(largest, sizes[end]) >= RUN_ROWS_MAX:
                break
            total, largest = total + sizes[end], max(largest, sizes[end])
            yield largest / (total - largest), total, first, end + 1


def level_of(rows: int) -> int:
    """The level of a merged run of so many events."""
    return 1 + sum(rows >= bound for bound in LEVEL_ROWS)
