"""The search index of one partition: one SQLite file with an FTS5 table. Derived: deleting it rebuilds it.

A message is found by its `stream_seq`; its text is not in here, only its terms. The position is written in
the transaction that brings what it covers, and compared there: of two archivers one is told that it was late,
and goes on from where the other has got to; both would have written the same.

What is erased is found no more from its transaction on. Its terms stay somewhere in the file, because FTS5
keeps those of deleted rows until they are merged away: `purge` rewrites the file. That it is due is written
in the same transaction.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import apsw

from archiver.derived_file import alone
from archiver.search.writing import Numbers, apply
from shared.archive_store import Reached
from shared.events import Recorded
from shared.ids import Epoch, StreamSeq

FORMAT = 2
BUSY_TIMEOUT_MS = 10_000
CACHE_KIB = 16_384
UNFLUSHED_BYTES = 8 * 1024 * 1024
"""Of terms that FTS5 gathers before it writes them: more than a batch has."""


_SCHEMA = """
CREATE TABLE position (
    format INTEGER NOT NULL, epoch TEXT NOT NULL, stream_seq INTEGER NOT NULL, at_us INTEGER NOT NULL,
    erased INTEGER NOT NULL DEFAULT 0, purged INTEGER NOT NULL DEFAULT 0);
CREATE VIRTUAL TABLE words USING fts5(
    text, meta, content='', contentless_delete=1, tokenize='ascii');
CREATE TABLE docs (
    stream_seq INTEGER PRIMARY KEY, channel INTEGER NOT NULL, seq INTEGER NOT NULL, author INTEGER NOT NULL,
    at_ms INTEGER NOT NULL, happened_ms INTEGER, thread INTEGER, text_seq INTEGER, flags INTEGER NOT NULL);
CREATE INDEX places ON docs (channel, seq);
CREATE INDEX reacted ON docs (stream_seq) WHERE flags & 2;
CREATE TABLE reactions (
    doc INTEGER NOT NULL, author INTEGER NOT NULL, emoji TEXT NOT NULL,
    PRIMARY KEY (doc, author, emoji)) WITHOUT ROWID;
CREATE TABLE channels (
    no INTEGER PRIMARY KEY, workspace TEXT NOT NULL, channel TEXT NOT NULL, UNIQUE (workspace, channel));
CREATE TABLE names (
    folded TEXT NOT NULL, channel INTEGER NOT NULL, PRIMARY KEY (folded, channel)) WITHOUT ROWID;
CREATE TABLE authors (no INTEGER PRIMARY KEY, author TEXT NOT NULL UNIQUE, folded TEXT NOT NULL);
CREATE INDEX authors_folded ON authors (folded);
CREATE TABLE hours (hour INTEGER PRIMARY KEY, lo INTEGER NOT NULL, hi INTEGER NOT NULL);
"""

_BEGINNING = "INSERT INTO position (format, epoch, stream_seq, at_us) VALUES (?, ?, 0, 0)"


class At(NamedTuple):
    """Up to where the log is in the index, and when the event there happened."""

    stream_seq: StreamSeq
    at_us: int


class SearchIndex:
    """One writer and one reader connection, each behind a lock: call it from any thread, off the loop."""

    def __init__(self, path: Path, epoch: Epoch, reached: Reached = lambda _: None) -> None:
        """Open or create; what is unusable or of another epoch begins anew."""
        self._path = path
        self._epoch = epoch
        self._reached = reached
        self._lock = threading.Lock()
        self._read_lock = threading.Lock()
        self.generation = 0
        """Counts the files: what was learnt of one says nothing of the next. Read it while `reading`."""
        self.is_purge_due = False
        """Whether terms of erased messages may still be in the file."""
        self._writer: apsw.Connection
        self._reader: apsw.Connection
        path.parent.mkdir(parents=True, exist_ok=True)
        self._begin(lambda: not self._usable())

    def close(self) -> None:
        """Close both connections."""
        with self._lock, self._read_lock:
            self._writer.close()
            self._reader.close()

    def at(self) -> At:
        """How far the index is."""
        with self._lock:
            return _at(self._writer)

    def begin_anew(self) -> None:
        """Forget everything: the log says otherwise, or the file is damaged."""
        with self._lock, self._read_lock:
            self._begin(lambda: True)

    def record(self, after: StreamSeq, events: Iterable[Recorded], at: At) -> bool:
        """Take in the events behind `after` up to `at`, in the order of the log; void ones may be missing.

        False, and nothing changes, if the index does not end at `after` (any more).
        """
        with self._lock, _transaction(self._writer) as writer:
            writer.execute("UPDATE position SET stream_seq = ?, at_us = ? WHERE stream_seq = ?", (*at, after))
            if writer.changes() != 1:
                self._numbers = Numbers()
                return False
            try:
                erased = apply(writer, self._numbers, events)
            except BaseException:
                self._numbers = Numbers()  # those of the transaction are not valid
                raise
            if erased:
                writer.execute("UPDATE position SET erased = erased + ?", (erased,))
            self._reached("search-recording")
        self._reached("search-recorded")
        self.is_purge_due |= erased > 0
        return True

    def purge(self) -> None:
        """If it is due, rewrite the file, so that no byte of what was erased is left of it.

        Takes as long as the file is large; readers wait only at its end. Raises `apsw.BusyError` if somebody
        else's reader stands in the way: then it is still due.
        """
        with self._lock:
            erased = _unpurged(self._writer)
            if erased is None:
                self.is_purge_due = False
                return
            self._writer.execute("INSERT INTO words(words) VALUES ('optimize')")
            self._reached("search-optimized")
            self._writer.execute("VACUUM")
            self._reached("search-vacuumed")
            with self._read_lock:
                busy = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]
            if busy:
                raise apsw.BusyError("the write-ahead log is being read")
            self._reached("search-purging")
            # What another archiver has erased meanwhile is due again.
            self._writer.execute("UPDATE position SET purged = max(purged, ?)", (erased,))
            self.is_purge_due = _unpurged(self._writer) is not None

    @contextlib.contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """The connection to ask with, in one transaction, for one at a time."""
        with self._read_lock:
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                self._reader.set_progress_handler(None)
                self._reader.execute("ROLLBACK")

    def _begin(self, unusable: Callable[[], bool]) -> None:
        with alone(self._path):  # of two who find it unusable at once, one would remove the other's
            try:
                self._connect()
                broken = unusable()
            except apsw.Error:
                broken = True
            if broken:
                self._remove()
                self._connect()
            self._numbers = Numbers()
            self.generation += 1
            self.is_purge_due = _unpurged(self._writer) is not None

    def _connect(self) -> None:
        self._writer = _connection(self._path)
        if not self._writer.execute("SELECT count(*) FROM sqlite_master").get:
            with _transaction(self._writer):
                self._writer.execute(_SCHEMA)
                self._writer.execute(
                    "INSERT INTO words (words, rank) VALUES ('hashsize', ?)", (UNFLUSHED_BYTES,)
                )
                self._writer.execute(_BEGINNING, (FORMAT, self._epoch))
        self._reader = _connection(self._path)

    def _usable(self) -> bool:
        found = self._writer.execute("SELECT format, epoch FROM position").fetchall()
        return found == [(FORMAT, self._epoch)]

    def _remove(self) -> None:
        for name in ("_reader", "_writer"):
            if hasattr(self, name):
                getattr(self, name).close()
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


def _unpurged(connection: apsw.Connection) -> int | None:
    """How many messages were erased in all, if the file was not rewritten since."""
    found: int | None = connection.execute("SELECT max(erased) FROM position WHERE erased > purged").get
    return found


def _at(connection: apsw.Connection) -> At:
    stream_seq, at_us = connection.execute("SELECT stream_seq, at_us FROM position").fetchall()[0]
    assert isinstance(stream_seq, int)
    assert isinstance(at_us, int)
    return At(StreamSeq(stream_seq), at_us)


def _connection(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", f"cache_size = -{CACHE_KIB}"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


@contextlib.contextmanager
def _transaction(connection: apsw.Connection) -> Iterator[apsw.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
