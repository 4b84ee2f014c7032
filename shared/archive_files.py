"""Opening an archive to read it: newest manifests, explicit files, and DuckDB with its views.

Anyone may do this while the archiver writes: segments are immutable, and a reader that pins one set of
manifests sees each event up to their `hi` exactly once. A glob over a live archive does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from shared.archive_manifest import (
    EMPTY_SEGMENT,
    Manifest,
    manifest_name,
    partition_dir,
    partition_of_dir,
    version_of_name,
)
from shared.archive_rows import ROW_SQL, Row
from shared.archive_store import Archive, Store, open_store
from shared.archive_views import views
from shared.errors import Unavailable
from shared.ids import Epoch

ARCHIVE_SQL = "archive.sql"
EPOCHS = "epochs"
READ_TRIES_MAX = 5
FETCH_ROWS = 2_000

_VIEW_SQL = """\
-- The archive as views: start with `duckdb -init archive.sql`.
-- events (everything), messages (edits folded, deleted ones left out), channels, members, reactions.
-- Run this file again to see newer events: a session keeps the files that it pinned.
-- If the folder has moved, say so first: SET VARIABLE archive = '/new/place';
SET VARIABLE archive = coalesce(getvariable('archive'), '{directory}');
SET VARIABLE manifests = (
    SELECT list(newest ORDER BY newest) FROM (
        SELECT max(file) AS newest FROM glob(getvariable('archive') || '/p*/manifest/*.json')
        GROUP BY regexp_extract(file, '(p[0-9]+)/manifest/', 1)));
SET VARIABLE archive_files = (
    SELECT [getvariable('archive') || '/{empty}'] || coalesce(list(path ORDER BY path), []) FROM (
        SELECT regexp_replace(filename, 'manifest/[0-9]+[.]json$', 'data/') || segment.path AS path
        FROM (SELECT filename, unnest(segments) AS segment FROM read_json(getvariable('manifests'),
            columns = {{segments: 'STRUCT(path VARCHAR)[]'}}, filename = true))));
"""
_EVENTS = "SELECT * FROM read_parquet(getvariable('archive_files'))"
"""A prepared parameter cannot stand in a view, a variable can."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """The newest manifests of an archive at one moment."""

    store: Store
    manifests: tuple[Manifest, ...]
    empty_bytes: int
    """Of the file without rows."""

    @property
    def files(self) -> list[str]:
        """Every live segment, and the empty one that makes the list valid for an empty archive."""
        root = self.store.location
        return [f"{root}/{name}" for name in self.sizes]

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each of them, by its name in the store."""
        return {EMPTY_SEGMENT: self.empty_bytes} | {
            f"{partition_dir(manifest.partition)}/data/{segment.path}": segment.bytes
            for manifest in self.manifests
            for segment in manifest.segments
        }


def newest_manifest(partition: Archive) -> Manifest | None:
    """The manifest with the highest version in a partition's part of an archive; None before the first.

    Old versions are removed while we look: then a newer one exists, and we look again.
    """
    store = open_store(partition)
    for _ in range(READ_TRIES_MAX):
        names = store.names("manifest")
        versions = [version for name in names if (version := version_of_name(name)) is not None]
        if not versions:
            return None
        try:
            return Manifest.model_validate_json(store.read(f"manifest/{manifest_name(max(versions))}"))
        except FileNotFoundError:
            continue
    raise Unavailable(f"the manifests in {store.location} change faster than they can be read")


def pin(archive: Archive) -> Pinned:
    """The newest manifests of all partitions; raises `Unavailable` where no archive is."""
    store = open_store(archive)
    try:
        empty = store.read(EMPTY_SEGMENT)
    except FileNotFoundError:
        missing = f"no archive in {store.location}: start the archiver once, or name another place"
        raise Unavailable(missing) from None
    partitions = [name for name in store.folders() if partition_of_dir(name) is not None]
    manifests = (newest_manifest(store.within(name)) for name in partitions)
    return Pinned(store, tuple(m for m in manifests if m is not None), len(empty))


def epoch_store(store: Store, epoch: Epoch) -> Store:
    """Where the archiver sets aside what it holds of an epoch that is over: an archive of its own."""
    return store.within(EPOCHS).within(epoch)


def epochs_set_aside(archive: Archive) -> list[Store]:
    """The archives of all epochs that are over; what they hold and the log does not was lost."""
    aside = open_store(archive).within(EPOCHS)
    return [aside.within(name) for name in aside.folders()]


def archive_sql(store: Store) -> str:
    """The script that gives plain DuckDB the views."""
    quoted = store.location.replace("'", "''")
    pinned = _VIEW_SQL.format(directory=quoted, empty=EMPTY_SEGMENT)
    return pinned + "".join(f"{statement};\n" for statement in _views())


def open_archive(archive: Archive | Pinned) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with the views over an archive as it was pinned, or as it is now.

    It does not follow: open again to see what was written later. Raises `Unavailable` where no archive is.
    """
    pinned = archive if isinstance(archive, Pinned) else pin(archive)
    connection = duckdb.connect(config={"autoinstall_known_extensions": False})
    pinned.store.prepare(connection)
    connection.execute("SET VARIABLE archive_files = ?", [pinned.files])
    for statement in _views():
        connection.execute(statement)
    return connection


def scan(archive: Archive, *, workspace: str | None = None, channel: str | None = None) -> Iterator[Row]:
    """The rows of the archive as it is now, ordered by workspace, channel, seq; bounded memory."""
    clauses = [("workspace = ?", workspace), ("channel = ?", channel)]
    wanted = [(sql, value) for sql, value in clauses if value is not None]
    where = " AND ".join(sql for sql, _ in wanted) or "true"
    query = f"SELECT {ROW_SQL} FROM events WHERE {where} ORDER BY workspace, channel, seq"  # noqa: S608
    with open_archive(archive) as connection:
        result = connection.execute(query, [value for _, value in wanted])
        while found := result.fetchmany(FETCH_ROWS):
            yield from map(Row._make, found)


def _views() -> list[str]:
    texts = {"events": _EVENTS, **views("events")}
    return [f"CREATE OR REPLACE TEMP VIEW {name} AS {text}" for name, text in texts.items()]
