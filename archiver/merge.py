"""Merges runs: sorted segments in, one sorted run out, cut by key into parts. Memory does not grow with them.

Of each run some row groups are in memory. What is not above the least of their last keys can have no
predecessor that is still to be read: it is put in order and is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from archiver.core.compaction import PART_ROWS, Run, level_of
from archiver.core.segment import SegmentRange, key_at
from archiver.parquet import open_segment, write_table
from shared.archive_manifest import RowKey, Segment
from shared.archive_schema import SCHEMA
from shared.archive_store import Reached, Store

GROUPS_AT_ONCE = 4
"""Row groups of a run in memory: more would take more, fewer would be put in order in smaller lots."""


class Stopped(Exception):
    """Whoever wanted the merge does not want it any more; what was written is an orphan."""


def merge_runs(
    partition: Store,
    runs: Sequence[Run],
    reached: Reached,
    stopped: Callable[[], bool] = lambda: False,
    *,
    part_rows: int = PART_ROWS,
) -> list[Segment]:
    """Write the parts of the run that holds what these neighbouring runs do. Raises `Stopped` and OSError."""
    lo, hi = runs[0].lo, runs[-1].hi
    level = level_of(hi - lo + 1)
    written: list[Segment] = []
    for table in _in_parts(_sorted(partition, runs), part_rows):
        if stopped():
            raise Stopped
        where = SegmentRange(lo, hi, level, len(written))
        written.append(write_table(partition, table, where, reached))
        reached("part-written")
    return written


def _in_parts(tables: Iterator[pa.Table], part_rows: int) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        while rows >= part_rows:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, part_rows)
            waiting, rows = [whole.slice(part_rows)], rows - part_rows
    if rows:
        yield pa.concat_tables(waiting)


def _sorted(partition: Store, runs: Sequence[Run]) -> Iterator[pa.Table]:
    readers = [_Reader(partition, run) for run in runs]
    while True:
        for reader in readers:
            reader.fill()
        lasts = [key_at(reader.table, reader.table.num_rows - 1) for reader in readers if reader.more]
        pieces = [reader.take(min(lasts) if lasts else None) for reader in readers]
        found = [piece for piece in pieces if piece.num_rows]
        if found:
            yield _in_order(pa.concat_tables(found))
        elif not lasts:
            return


def _in_order(table: pa.Table) -> pa.Table:
    """By key. A number for each row is put in order in a third of the time that its three columns take."""
    span = pc.max(table.column("seq")).as_py() + 1
    numbers = pa.scalar(0, pa.int64())
    for name in ("workspace", "channel"):
        words = table.column(name).combine_chunks().dictionary_encode()
        places = pc.sort_indices(pc.sort_indices(words.dictionary)).cast(pa.int64())
        numbers = pc.add_checked(pc.multiply_checked(numbers, len(places)), places.take(words.indices))
    numbers = pc.add_checked(pc.multiply_checked(numbers, span), table.column("seq"))
    return table.take(pc.sort_indices(numbers))


class _Reader:
    """A run, read in order: `table` is what was read and not taken."""

    def __init__(self, partition: Store, run: Run) -> None:
        self._batches = _batches(partition, run)
        self._next = next(self._batches, None)
        self.table = SCHEMA.empty_table()

    @property
    def more(self) -> bool:
        """Whether something follows `table`."""
        return self._next is not None

    def fill(self) -> None:
        """Have something in `table`, if there is anything left."""
        if not self.table.num_rows and self._next is not None:
            self.table, self._next = self._next, next(self._batches, None)

    def take(self, last: RowKey | None) -> pa.Table:
        """What is not above a key; everything without one."""
        count = self.table.num_rows if last is None else self._upto(last)
        taken, self.table = self.table.slice(0, count), self.table.slice(count)
        return taken

    def _upto(self, last: RowKey) -> int:
        low, high = 0, self.table.num_rows
        while low < high:
            middle = (low + high) // 2
            if key_at(self.table, middle) <= last:
                low = middle + 1
            else:
                high = middle
        return low


def _batches(partition: Store, run: Run) -> Iterator[pa.Table]:
    for part in run.parts:
        file: pq.ParquetFile = open_segment(partition, part)
        for first in range(0, file.num_row_groups, GROUPS_AT_ONCE):
            groups = range(first, min(first + GROUPS_AT_ONCE, file.num_row_groups))
            yield file.read_row_groups(list(groups)).cast(SCHEMA)
