"""Which events the erasures of an archive name, and which stored rows of them still have their text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import duckdb

from infra.export.erased import ERASING_SQL
from shared.archive_files import open_archive
from shared.archive_manifest import partition_of_dir
from shared.archive_rows import ROW_SQL, Row, recorded_of
from shared.archive_store import Archive, Store
from shared.erasure import SAID, Erasures, emptied, erasure_of
from shared.events import Recorded
from shared.ids import ChannelId, ChannelKey, StreamSeq, WorkspaceId

_FETCH_ROWS = 2_000

Name = tuple[ChannelKey, str, str]
"""Channel, author and id: by these an event is known in any epoch."""


@dataclass(slots=True)
class Named:
    """What is erased: by number in the present epoch, by `Name` in those that are over."""

    erasures: Erasures = field(default_factory=Erasures)
    positions: set[tuple[ChannelKey, StreamSeq]] = field(default_factory=set)
    names: set[Name] = field(default_factory=set)
    kept: set[Name] = field(default_factory=set)
    """Of users who are erased, what they have said since."""

    @property
    def channels(self) -> list[str]:
        """The channels that have something to do with it."""
        return sorted({erasure.key.channel for erasure in self.erasures})

    def holds(self, row: Row) -> bool:
        """Whether a row of the present epoch is named."""
        return self.erasures.name(_key(row), row.seq, row.kind, row.author, row.ref)

    def held(self, row: Row, messages: set[tuple[ChannelKey, int | None]]) -> bool:
        """Whether one of an epoch that is over is, where `messages` are named."""
        key = _key(row)
        name = _name(row)
        edits = row.kind == "message.edited" and (key, row.ref) in messages
        if edits or name in self.names:
            return True
        if self.erasures.has_expired(recorded_of(row)):
            return True
        users = self.erasures.named(key)[1]
        return row.kind in SAID and row.author in users and name not in self.kept


def read_named(archive: Archive) -> Named:
    """What the archive, as it is now, says is erased."""
    named = Named()
    with open_archive(archive) as connection:
        for row in _rows(connection, "events", f"{ERASING_SQL} ORDER BY stream_seq", []):
            if (erasure := erasure_of(recorded_of(row))) is not None:
                named.erasures.add(erasure)
        for row in _rows(connection, "events", _IN_CHANNELS, [named.channels]):
            name = _name(row)
            if named.holds(row):
                named.positions.add((_key(row), StreamSeq(row.stream_seq)))
                named.names.add(name)
            elif row.kind in SAID and row.author in named.erasures.named(_key(row))[1]:
                named.kept.add(name)
    return named


def rows_with_text(store: Store, named: Named, *, is_over: bool) -> Iterator[tuple[str, Row]]:
    """Rows of any Parquet file of an archive, live or not, that are named and have a text: with the file.

    `is_over`: it is one that was set aside.
    """
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        store.prepare(connection)
        for partition in partitions_of(store):
            for name in sorted(partition.names("data")):
                if name.endswith(".parquet"):
                    path = f"{partition.location}/data/{name}"
                    try:
                        yield from ((path, row) for row in _with_text(connection, path, named, is_over))
                    except duckdb.IOException:
                        if partition.exists(f"data/{name}"):  # else it was replaced just now
                            raise


def partitions_of(store: Store) -> list[Store]:
    """The parts of an archive that hold files."""
    return [store.within(name) for name in store.folders() if partition_of_dir(name) is not None]


def has_text(recorded: Recorded) -> bool:
    """Whether erasing would change the event."""
    return emptied(recorded)[0] != recorded


_IN_CHANNELS = "channel IN (SELECT unnest(?))"


def _with_text(
    connection: duckdb.DuckDBPyConnection, path: str, named: Named, is_over: bool
) -> Iterator[Row]:
    def rows() -> Iterator[Row]:
        return _rows(connection, "read_parquet(?)", _IN_CHANNELS, [path, named.channels])

    messages: set[tuple[ChannelKey, int | None]] = set()
    if is_over:
        messages |= {(_key(row), row.seq) for row in rows() if named.held(row, set())}
    for row in rows():
        if (named.held(row, messages) if is_over else named.holds(row)) and has_text(recorded_of(row)):
            yield row


def _rows(
    connection: duckdb.DuckDBPyConnection, source: str, where: str, parameters: list[object]
) -> Iterator[Row]:
    result = connection.execute(f"SELECT {ROW_SQL} FROM {source} WHERE {where}", parameters)  # noqa: S608
    while found := result.fetchmany(_FETCH_ROWS):
        yield from map(Row._make, found)


def _key(row: Row) -> ChannelKey:
    return ChannelKey(WorkspaceId(row.workspace), ChannelId(row.channel))


def _name(row: Row) -> Name:
    return _key(row), row.author, row.id or ""
