"""A row group in memory, as columns: where in it a channel's events are, and their rows."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from archiver.core.segment import rows_of
from archiver.parquet import DICTIONARY
from shared.archive_manifest import RowKey
from shared.archive_rows import Row
from shared.archive_schema import SCHEMA
from shared.ids import ChannelKey, Seq

Ranges = Sequence[tuple[Seq, Seq]]
"""First and last seqs of a channel, both inclusive."""

_KEYS = list(RowKey._fields)
_REST = [name for name in SCHEMA.names if name not in _KEYS]


class Columns:
    """Of a row group: its keys alone, or all of it. Never changed."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch
        self._keys = [batch.column(name) for name in _KEYS]
        self.is_whole: bool = batch.num_columns > len(_KEYS)
        self.size: int = batch.nbytes
        """In bytes."""

    def within(self, key: ChannelKey, ranges: Ranges) -> list[range]:
        """At which places of the group a channel's events of each range are."""
        return [self._within(key, first, last) for first, last in ranges]

    def rows(self, places: range, wanted: Collection[Seq] | None = None) -> list[Row]:
        """What is at these places, or what is wanted of it. Of a whole group."""
        part = self._batch.slice(places.start, len(places))
        if wanted is not None:
            part = part.filter(pc.is_in(part.column("seq"), pa.array(wanted, pa.int64())))
        return rows_of(part)

    def with_rest(self, rest: pa.RecordBatch) -> Columns:
        """All of the group of which these are the keys."""
        return Columns(pa.RecordBatch.from_arrays(self._keys + rest.columns, names=_KEYS + _REST))

    def _within(self, key: ChannelKey, first: Seq, last: Seq) -> range:
        low = self._below((*key, first), 0, self._batch.num_rows)
        high = min(self._batch.num_rows, low + last - first + 1)  # no seq is there twice
        return range(low, self._below((*key, last + 1), low, high))

    def _below(self, key: tuple[str, str, int], low: int, high: int) -> int:
        """How many rows come before a key: at least `low`, at most `high`."""
        return bisect_left(range(self._batch.num_rows), key, low, high, key=self._key_at)

    def _key_at(self, place: int) -> tuple[str, str, int]:
        workspaces, channels, seqs = self._keys
        return workspaces[place].as_py(), channels[place].as_py(), seqs[place].as_py()


def read_columns(
    file: pa.NativeFile,
    metadata: pq.FileMetaData,
    number: int,
    key: ChannelKey,
    ranges: Ranges,
    keys: Columns | None,
) -> tuple[Columns, list[range]]:
    """A row group of a file that has its bytes, and where in it these events are.

    The whole group if they are; else, on the edge of another channel, its keys alone. `keys`: those, if they
    are at hand. Raises OSError.
    """
    reader = pq.ParquetFile(
        file,
        metadata=metadata,
        read_dictionary=DICTIONARY,
        pre_buffer=False,  # it takes 1.3 ms more to gather in threads what is at hand
    )
    columns = keys or Columns(_batch(reader, number, _KEYS))
    places = columns.within(key, ranges)
    if any(places):
        columns = columns.with_rest(_batch(reader, number, _REST))
    return columns, places


def _batch(reader: pq.ParquetFile, number: int, names: Sequence[str]) -> pa.RecordBatch:
    table = reader.read_row_group(number, columns=names, use_threads=False)
    return table.combine_chunks().to_batches()[0]
