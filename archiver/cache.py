"""The derived index of one partition: heads and states of channels, ids, who reads what, where runs lie.

Everything in it follows from the segments, and its position is written in the same transaction: whatever
happens to it, the archive is not touched, and deleting the file rebuilds it. It is never ahead of the
manifest, because a batch enters after its manifest is published.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from archiver import cached_erasures, cached_messages, known_ids, readers, retained
from archiver.cached_erasures import LateEdit
from archiver.cached_messages import CachedMessages
from archiver.core.hot import NOTHING_YET, ChannelEvents, Head, HotEvent
from archiver.derived_file import alone, transaction
from archiver.manifest_store import Fenced
from shared.archive_store import Reached
from shared.channel import dump_state, load_state
from shared.erasure import Erasure
from shared.events import MessagePosted
from shared.ids import ChannelId, ChannelKey, CommandId, Epoch, Seq, StreamSeq, UserId, WorkspaceId
from shared.records import KnownId

FORMAT = 9
BUSY_TIMEOUT_S = 10.0
HEADS_MAX = 500
HEADS_BYTES_MAX = 256 * 1024
"""A page of heads: so many channels or bytes of their states, but one channel at least."""

T = TypeVar("T")

_SCHEMA = f"""
CREATE TABLE position (format INTEGER NOT NULL, epoch TEXT NOT NULL, stream_seq INTEGER NOT NULL);
CREATE TABLE channels (
    no INTEGER PRIMARY KEY, workspace TEXT NOT NULL, channel TEXT NOT NULL,
    seq INTEGER NOT NULL, stream_seq INTEGER NOT NULL, state BLOB, greatest TEXT NOT NULL,
    kind TEXT, UNIQUE (workspace, channel));
CREATE TABLE runs (
    channel INTEGER NOT NULL, seq_lo INTEGER NOT NULL, seq_hi INTEGER NOT NULL,
    stream_lo INTEGER NOT NULL, stream_hi INTEGER NOT NULL,
    PRIMARY KEY (channel, seq_lo)) WITHOUT ROWID;
{known_ids.SCHEMA};
{cached_erasures.SCHEMA};
{cached_messages.SCHEMA};
{readers.SCHEMA};
{retained.SCHEMA}
"""

_JOIN_RUNS = (
    "CREATE TEMP TABLE joined AS SELECT channel, min(seq_lo) AS seq_lo, max(seq_hi) AS seq_hi,"
    " min(stream_lo) AS stream_lo, max(stream_hi) AS stream_hi FROM runs"
    " WHERE stream_lo >= :lo AND stream_hi <= :hi GROUP BY channel HAVING count(*) > 1",
    "DELETE FROM runs WHERE stream_lo >= :lo AND stream_hi <= :hi"
    " AND channel IN (SELECT channel FROM joined)",
    "INSERT INTO runs SELECT * FROM joined",
    "DROP TABLE joined",
)


class Cache:
    """One writer and one reader connection, each behind a lock: call it from any thread, off the loop."""

    def __init__(
        self,
        path: Path,
        epoch: Epoch,
        hi: StreamSeq,
        reached: Reached = lambda _: None,
        still_ours: Callable[[], None] = lambda: None,
    ) -> None:
        """Open or create; what is unusable, of another epoch or ahead of the manifest begins anew.

        `still_ours` raises `Fenced` if another archiver has the partition: then the file is its own by now.
        """
        self._path = path
        self._reached = reached
        self._lock = threading.Lock()
        self._read_lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path):  # of two who find it unusable at once, one would remove the other's
            try:
                self._writer = self._open(epoch)
                usable = self._usable(epoch, hi)
            except sqlite3.DatabaseError:
                usable = False
            if not usable:
                self._remove(still_ours)
                self._writer = self._open(epoch)
            self._reader = self._connect()
        self._claimed = self.position
        """Up to here the position may have been moved by us; beyond it, another archiver did so."""

    def close(self) -> None:
        """Close both connections."""
        with self._lock, self._read_lock:
            self._writer.close()
            self._reader.close()

    @property
    def position(self) -> StreamSeq:
        """Every event up to here is in the cache."""
        with self._read_lock:
            return StreamSeq(self._reader.execute("SELECT stream_seq FROM position").fetchone()[0])

    def heads(self, keys: Iterable[ChannelKey]) -> dict[ChannelKey, Head]:
        """Where these channels stand at `position`; a channel without events has an empty head.

        Raises `Fenced` if another archiver has gone on: what is numbered from its heads would be wrong.
        """
        query = "SELECT seq, stream_seq, state, greatest FROM channels WHERE workspace = ? AND channel = ?"
        with self._read_lock:
            found = {key: _head(self._reader.execute(query, key).fetchone()) for key in dict.fromkeys(keys)}
        self._check_claim()
        return found

    def heads_behind(self, after: ChannelKey) -> tuple[list[tuple[ChannelKey, Head]], bool]:
        """Heads in the order of the channels' names, at `position` or later, and whether more follow.

        Raises `Fenced` as `heads` does.
        """
        query = (
            "SELECT workspace, channel, seq, stream_seq, state, greatest FROM channels"
            " WHERE (workspace, channel) > (?, ?) ORDER BY workspace, channel"
        )
        found: list[tuple[ChannelKey, Head]] = []
        size, more = 0, False
        with self._read_lock:
            for workspace, channel, *row in self._reader.execute(query, after):
                size += len(row[2] or b"")
                if found and (size > HEADS_BYTES_MAX or len(found) == HEADS_MAX):
                    more = True
                    break
                found.append((ChannelKey(workspace, channel), _head(tuple(row))))
        self._check_claim()
        return found, more

    def _check_claim(self) -> None:
        if self.position > self._claimed:  # asked after the heads: it only grows
            raise Fenced(f"{self._path} is beyond {self._claimed}: another archiver writes it")

    def greatest(self, key: ChannelKey) -> str:
        """The greatest id of a channel up to `position`; empty if it has none."""
        query = "SELECT greatest FROM channels WHERE workspace = ? AND channel = ?"
        with self._read_lock:
            row = self._reader.execute(query, key).fetchone()
        return row[0] if row else ""

    def known(self, key: ChannelKey, ids: Sequence[tuple[UserId, CommandId]]) -> list[KnownId | None]:
        """What the channel holds under each (author, id) up to `position`."""
        with self._read_lock:
            return known_ids.found(self._reader, key, ids)

    def readable(self, workspace: WorkspaceId, user: UserId) -> set[ChannelId]:
        """What a user may read in a workspace at `position` or later. Raises `Fenced` as `heads` does."""
        with self._read_lock:
            channels = readers.readable(self._reader, workspace, user)
        self._check_claim()
        return channels

    def stream_span(self, key: ChannelKey, first: Seq, last: Seq) -> tuple[StreamSeq, StreamSeq] | None:
        """Between which stream sequences these events of the channel lie; None if it has none of them."""
        query = (
            "SELECT min(stream_lo), max(stream_hi) FROM runs"
            " WHERE channel = ? AND seq_lo <= ? AND seq_lo >= coalesce("
            "(SELECT max(seq_lo) FROM runs WHERE channel = ? AND seq_lo <= ?), 0)"
        )
        with self._read_lock:
            number = _number(self._reader, key)
            lo, hi = self._reader.execute(query, (number, last, number, first)).fetchone()
        return None if lo is None else (StreamSeq(lo), StreamSeq(hi))

    def messages(self, key: ChannelKey, ask: Callable[[CachedMessages], T]) -> T:
        """Ask about a channel's messages, all at one moment. Raises `Fenced` as `heads` does."""
        with self._read_lock, transaction(self._reader, "BEGIN") as reader:
            answer = ask(CachedMessages(reader, key))
        self._check_claim()
        return answer

    def erasures(self, after: StreamSeq) -> tuple[list[Erasure], int]:
        """The erasures behind a position, and when the newest text that any names was recorded (0: none)."""
        with self._read_lock:
            return cached_erasures.since(self._reader, after), cached_erasures.texts_us(self._reader)

    def late_edits(self) -> list[LateEdit]:
        """Edits of messages that had been erased before, and of which no erasure says anything."""
        with self._read_lock:
            return cached_erasures.late_edits(self._reader)

    def retained(self, after: ChannelKey) -> list[ChannelKey]:
        """Channels that have a retention, in the order of their names: a page behind one of them."""
        with self._read_lock:
            return retained.behind(self._reader, after)

    def forget_bodies(
        self, names: Iterable[tuple[ChannelKey, UserId, CommandId]], erased: StreamSeq, newest_us: int
    ) -> None:
        """Keep of these ids only where they stand: what they said is erased, by events up to `erased`.

        `newest_us`: when the newest of them was recorded.
        """
        with self._lock, transaction(self._writer) as writer:
            cached_erasures.found_text(writer, erased, newest_us)
            for key, author, command in names:
                known_ids.forget_body(writer, _number(writer, key), author, command)
            cached_erasures.forget(writer, erased)

    @property
    def forgotten(self) -> StreamSeq:
        """Up to which event `forget_bodies` was told that it is done."""
        with self._read_lock:
            return cached_erasures.forgotten(self._reader)

    def record(self, lo: StreamSeq, hi: StreamSeq, channels: Iterable[ChannelEvents]) -> None:
        """Take in what is archived from `lo` to `hi`, a channel's events in order.

        Raises `Fenced` if somebody else moved the position.
        """
        self._claimed = hi
        with self._lock, transaction(self._writer) as writer:
            moved = writer.execute("UPDATE position SET stream_seq = ? WHERE stream_seq = ?", (hi, lo - 1))
            if moved.rowcount != 1:
                raise Fenced(f"{self._path} is not at {lo - 1}: another archiver writes it")
            for key, head, events in channels:
                _record_channel(writer, key, head, events)
            self._reached("cache-recording")

    def join_runs(self, lo: StreamSeq, hi: StreamSeq) -> None:
        """Name what each channel has in a range of the stream as one run: it is in one run of files now."""
        with self._lock, transaction(self._writer) as writer:
            for statement in _JOIN_RUNS:
                writer.execute(statement, {"lo": lo, "hi": hi})

    def _open(self, epoch: Epoch) -> sqlite3.Connection:
        connection = self._connect()
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            with transaction(connection):
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute("INSERT INTO position VALUES (?, ?, 0)", (FORMAT, epoch))
        return connection

    def _usable(self, epoch: Epoch, hi: StreamSeq) -> bool:
        found = self._writer.execute("SELECT format, epoch, stream_seq FROM position").fetchall()
        return len(found) == 1 and found[0][:2] == (FORMAT, epoch) and found[0][2] <= hi

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S
        )

    def _remove(self, still_ours: Callable[[], None]) -> None:
        with contextlib.suppress(AttributeError):
            self._writer.close()
        still_ours()
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


def _record_channel(
    writer: sqlite3.Connection, key: ChannelKey, head: Head, events: Sequence[HotEvent]
) -> None:
    state = None if head.state is None else dump_state(head.state)
    number = writer.execute(
        "INSERT INTO channels (workspace, channel, seq, stream_seq, state, greatest, kind)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET seq = excluded.seq, stream_seq = excluded.stream_seq,"
        " state = excluded.state, greatest = excluded.greatest, kind = excluded.kind RETURNING no",
        (*key, head.seq, head.stream_seq, state, head.greatest, head.state and head.state.kind),
    ).fetchone()[0]
    first, last = events[0].recorded, events[-1].recorded
    writer.execute(
        "INSERT INTO runs VALUES (?, ?, ?, ?, ?)",
        (number, first.seq, last.seq, first.stream_seq, last.stream_seq),
    )
    others = [hot for hot in events if not isinstance(hot.recorded.event, MessagePosted)]
    known_ids.record(writer, number, events)
    readers.record(writer, number, head, others)
    retained.record(writer, number, head, others)
    cached_erasures.record(writer, number, others, events)
    cached_messages.record(writer, number, events)


def _number(reader: sqlite3.Connection, key: ChannelKey) -> int:
    row = reader.execute("SELECT no FROM channels WHERE workspace = ? AND channel = ?", key).fetchone()
    return int(row[0]) if row else -1


def _head(row: tuple[int, int, bytes | None, str] | None) -> Head:
    if row is None:
        return NOTHING_YET
    seq, stream_seq, state, greatest = row
    return Head(Seq(seq), StreamSeq(stream_seq), None if state is None else load_state(state), greatest)
