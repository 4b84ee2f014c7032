"""The archive as it was pinned for one export: what is in it, and that nothing of it is missing.

Everything goes by (channel, seq), never by time: any number of events may share a time. A channel is whole
if its numbers run from 1 to its head, each once; the head is the sequencer's, known before the archive was
pinned (AT-52).
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import duckdb
import pyarrow as pa

from infra.export.erased import ERASING_SQL, Erased
from infra.export.selection import Selection
from shared.archive_files import open_archive, pin
from shared.archive_rows import ROW_SQL, Row
from shared.archive_schema import SCHEMA as SEGMENT
from shared.archive_store import Archive
from shared.errors import NotFound, ParleyError, Unavailable
from shared.ids import ChannelId, Seq

MEMORY = "1GB"
"""What DuckDB keeps in memory; the rest of a sort is on the disk, beside the export."""

ROWS = 4_096
"""Events that are fetched at a time."""

SCHEMA = pa.schema(
    field if field.name != "id" else pa.field("id", pa.string())
    for field in SEGMENT
    if field.name != "stream_seq"
)
COLUMNS_SQL = "workspace, channel, seq, kind, author, ts, text, ref, thread, id::VARCHAR AS id, void, extras"
"""The archive's columns without `stream_seq`, which never leaves the servers; ids as people write them."""


class ExportIncomplete(ParleyError):
    """The archive does not hold what the log does; `parley verify` says more."""

    code: ClassVar[str] = "export_incomplete"


class _Count(NamedTuple):
    channel: ChannelId
    events: int
    numbers: int
    first: int
    last: int

    @property
    def is_dense(self) -> bool:
        return self.events == self.numbers == self.last and self.first == 1


class Source:
    """A pinned archive and a selection of it. Use it by `opened`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, selection: Selection) -> None:
        self._connection = connection
        self.selection = selection
        self._erased = Erased(self._erasing())

    def counts(self) -> dict[ChannelId, int]:
        """Events of each selected channel. Raises `ExportIncomplete` for a whole channel with holes."""
        query = f"""SELECT channel, count(*), count(DISTINCT seq), min(seq), max(seq) FROM events
            WHERE {self.selection.where} GROUP BY channel ORDER BY channel"""  # noqa: S608
        counts: dict[ChannelId, int] = {}
        for row in itertools.chain.from_iterable(self.query(query)):
            found = _Count._make(row)
            if self.selection.is_whole and not found.is_dense:
                raise ExportIncomplete(
                    f"channel {found.channel}: {found.events} events with {found.numbers} numbers"
                    f" from {found.first} to {found.last} in the archive: see parley verify"
                )
            counts[found.channel] = found.events
        return counts

    def rows(self) -> Iterator[list[Row]]:
        """The selected events, channel by channel, by number."""
        for rows in self.query(f"SELECT {ROW_SQL} FROM events WHERE {self.selection.where} {_ORDER}"):  # noqa: S608
            made = [Row._make(row) for row in rows]
            yield [self._erased.without(row) for row in made] if self._erased else made

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The same as columns."""
        if self._erased:
            yield from map(_batch, self.rows())
            return
        query = f"SELECT {COLUMNS_SQL} FROM events WHERE {self.selection.where} {_ORDER}"  # noqa: S608
        yield from self._connection.execute(query, self.selection.parameters).to_arrow_reader(ROWS)

    def _erasing(self) -> Iterator[Row]:
        """Every erasure of the workspace: whoever it names may be selected."""
        query = f"SELECT {ROW_SQL} FROM events WHERE workspace = ? AND {ERASING_SQL}"  # noqa: S608
        result = self._connection.execute(query, [self.selection.workspace])
        while rows := result.fetchmany(ROWS):
            yield from map(Row._make, rows)

    def query(self, sql: str) -> Iterator[Sequence[tuple[Any, ...]]]:
        """The answer to any query with the selection's parameters, in bounded memory."""
        result = self._connection.execute(sql, self.selection.parameters)
        while rows := result.fetchmany(ROWS):
            yield rows


_ORDER = "ORDER BY channel, seq"


def _batch(rows: list[Row]) -> pa.RecordBatch:
    columns = dict(zip(Row._fields, zip(*rows, strict=True), strict=True))
    columns["ts"] = columns.pop("ts_us")
    return pa.record_batch([pa.array(columns[f.name], f.type) for f in SCHEMA], schema=SCHEMA)


@contextlib.contextmanager
def opened(archive: Archive, selection: Selection, directory: Path) -> Iterator[Source]:
    """The archive as it is now; what does not fit into memory goes into a temporary part of `directory`."""
    with tempfile.TemporaryDirectory(prefix=".parley-export-", dir=directory) as spill:
        connection = open_archive(pin(archive))
        with connection:
            connection.execute(f"SET memory_limit = '{MEMORY}'")
            connection.execute("SET temp_directory = ?", [spill])
            try:
                yield Source(connection, selection)
            except duckdb.Error as error:
                raise Unavailable(f"the archive cannot be read: {error}") from error


def check(selection: Selection, counts: Mapping[ChannelId, int], heads: Mapping[ChannelId, Seq]) -> None:
    """Raises `NotFound` for a channel that is not there, `ExportIncomplete` for one that ends too early."""
    for channel in selection.channels or ():
        if channel not in counts and channel not in heads:
            raise NotFound(f"there is no channel {channel} in the workspace {selection.workspace}")
    for channel, head in heads.items() if selection.is_whole else ():
        if counts.get(channel, 0) < head:
            raise ExportIncomplete(
                f"channel {channel}: the archive holds {counts.get(channel, 0)} of {head} events:"
                " see parley verify"
            )
