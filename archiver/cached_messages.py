"""The cache's tables of messages: which seqs are messages, and what later events made of them. No texts.

`said` holds ranges of consecutive messages, so that a page finds its messages however many other events lie
between them. The texts are in Parquet, each under the seq that is named here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain

from archiver.core.hot import HotEvent
from archiver.core.messages import Past
from shared.events import (
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    ReactionAdded,
    ReactionRemoved,
    Recorded,
)
from shared.ids import ChannelKey, Seq, StreamSeq, UserId
from shared.message_records import Deletion, Edit

SCHEMA = """
CREATE TABLE said (
    channel INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (channel, first)) WITHOUT ROWID;
CREATE TABLE edits (
    channel INTEGER NOT NULL, ref INTEGER NOT NULL, seq INTEGER NOT NULL, at_us INTEGER NOT NULL,
    PRIMARY KEY (channel, ref)) WITHOUT ROWID;
CREATE TABLE deletions (
    channel INTEGER NOT NULL, ref INTEGER NOT NULL, seq INTEGER NOT NULL, at_us INTEGER NOT NULL,
    author TEXT NOT NULL, PRIMARY KEY (channel, ref)) WITHOUT ROWID;
CREATE TABLE reactions (
    channel INTEGER NOT NULL, ref INTEGER NOT NULL, emoji TEXT NOT NULL, author TEXT NOT NULL,
    PRIMARY KEY (channel, ref, emoji, author)) WITHOUT ROWID;
CREATE TABLE reacted (
    channel INTEGER NOT NULL, ref INTEGER NOT NULL, emoji TEXT NOT NULL, authors INTEGER NOT NULL,
    PRIMARY KEY (channel, ref, emoji)) WITHOUT ROWID;
CREATE TABLE replies (
    channel INTEGER NOT NULL, seq INTEGER NOT NULL, root INTEGER NOT NULL, deleted INTEGER NOT NULL,
    PRIMARY KEY (channel, seq)) WITHOUT ROWID;
CREATE UNIQUE INDEX replies_by_root ON replies (channel, root, deleted, seq);
CREATE TABLE threads (
    channel INTEGER NOT NULL, root INTEGER NOT NULL, replies INTEGER NOT NULL,
    PRIMARY KEY (channel, root)) WITHOUT ROWID
"""

ASKED_ONE_BY_ONE_MAX = 64
"""For more users than these, all who have reacted so are read in one query."""

_BELOW = "SELECT first, last FROM said WHERE channel = ? AND first < ? ORDER BY first DESC LIMIT ?"
_ABOVE = """
SELECT first, last FROM said WHERE channel = ?1
AND first >= coalesce((SELECT max(first) FROM said WHERE channel = ?1 AND first <= ?2), 0)
ORDER BY first LIMIT ?3 + 1
"""
_OF_THREAD = "SELECT seq FROM replies WHERE channel = ?1 AND root = ?2 AND deleted = {0} AND seq {1} LIMIT ?4"
_THREAD = "SELECT seq FROM ({0}) UNION ALL SELECT seq FROM ({1}) ORDER BY seq {2} LIMIT ?4"
_REPLIES_BELOW, _REPLIES_ABOVE = (
    _THREAD.format(_OF_THREAD.format(0, rest), _OF_THREAD.format(1, rest), order)
    for rest, order in (("< ?3 ORDER BY seq DESC", "DESC"), (">= ?3 ORDER BY seq", "ASC"))
)

_ONE_REPLY_MORE = "INSERT INTO threads VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET replies = replies + 1"
_ONE_AUTHOR_MORE = "INSERT INTO reacted VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET authors = authors + 1"
_FEWER = (
    "UPDATE reacted SET authors = authors - 1 WHERE channel = ? AND ref = ? AND emoji = ?",
    "DELETE FROM reacted WHERE channel = ? AND ref = ? AND emoji = ? AND authors = 0",
)


class CachedMessages(Past):
    """A channel's messages at the cache's `position`, where its newest event is `upto`.

    Made and asked within one transaction.
    """

    def __init__(self, reader: sqlite3.Connection, key: ChannelKey) -> None:
        self._reader = reader
        self.position = StreamSeq(reader.execute("SELECT stream_seq FROM position").fetchone()[0])
        query = "SELECT no, seq FROM channels WHERE workspace = ? AND channel = ?"
        number, upto = reader.execute(query, key).fetchone() or (-1, 0)
        self._channel: int = number
        self.upto = Seq(upto)

    def below(self, seq: int, count: int, root: Seq | None = None) -> list[Seq]:
        """The newest messages below a seq, ascending; only replies if `root` is given."""
        if root is not None:
            rows = self._rows(_REPLIES_BELOW, root, seq, count)
            return [Seq(row[0]) for row in reversed(rows)]
        ranges = self._rows(_BELOW, seq, count)
        found = chain.from_iterable(range(min(last, seq - 1), first - 1, -1) for first, last in ranges)
        return [Seq(it) for it, _ in zip(found, range(count), strict=False)][::-1]

    def above(self, seq: int, count: int, root: Seq | None = None) -> list[Seq]:
        """The oldest messages from a seq on, ascending; only replies if `root` is given."""
        if root is not None:
            return [Seq(row[0]) for row in self._rows(_REPLIES_ABOVE, root, seq, count)]
        ranges = self._rows(_ABOVE, seq, count)
        found = chain.from_iterable(range(max(first, seq), last + 1) for first, last in ranges)
        return [Seq(it) for it, _ in zip(found, range(count), strict=False)]

    def is_message(self, seq: Seq) -> bool:
        """Whether a message stands there."""
        return self.above(seq, 1) == [seq]

    def edited(self, seq: Seq) -> Edit | None:
        """The newest edit."""
        rows = self._rows("SELECT seq, at_us FROM edits WHERE channel = ? AND ref = ?", seq)
        return Edit(seq=rows[0][0], at_us=rows[0][1]) if rows else None

    def deleted(self, seq: Seq) -> Deletion | None:
        """The first deletion."""
        rows = self._rows("SELECT seq, at_us, author FROM deletions WHERE channel = ? AND ref = ?", seq)
        return Deletion(seq=rows[0][0], at_us=rows[0][1], by=rows[0][2]) if rows else None

    def counts(self, seq: Seq) -> Mapping[str, int]:
        """How often each emoji stands."""
        return dict(self._rows("SELECT emoji, authors FROM reacted WHERE channel = ? AND ref = ?", seq))

    def standing(self, seq: Seq, emoji: str, users: Collection[UserId]) -> int:
        """How many of these users' reactions stand."""
        query = "SELECT author FROM reactions WHERE channel = ? AND ref = ? AND emoji = ?"
        if len(users) > ASKED_ONE_BY_ONE_MAX:
            return sum(author in users for (author,) in self._rows(query, seq, emoji))
        return sum(len(self._rows(f"{query} AND author = ?", seq, emoji, user)) for user in users)

    def users(self, seq: Seq, emoji: str, limit: int) -> Sequence[UserId]:
        """Who reacted so: the first by name."""
        query = (
            "SELECT author FROM reactions WHERE channel = ? AND ref = ? AND emoji = ? ORDER BY author LIMIT ?"
        )
        return [UserId(row[0]) for row in self._rows(query, seq, emoji, limit)]

    def replies(self, root: Seq) -> int:
        """How many live ones there are."""
        rows = self._rows("SELECT replies FROM threads WHERE channel = ? AND root = ?", root)
        return rows[0][0] if rows else 0

    def root(self, reply: Seq) -> Seq | None:
        """What a live reply answers."""
        rows = self._rows("SELECT root FROM replies WHERE channel = ? AND seq = ? AND deleted = 0", reply)
        return Seq(rows[0][0]) if rows else None

    def newest_replies(self, root: Seq) -> Iterable[Seq]:
        """The live ones, the newest first."""
        query = "SELECT seq FROM replies WHERE channel = ? AND root = ? AND deleted = 0 ORDER BY seq DESC"
        for row in self._reader.execute(query, (self._channel, root)):
            yield Seq(row[0])

    def _rows(self, query: str, *parameters: object) -> list[tuple]:  # type: ignore[type-arg]
        return self._reader.execute(query, (self._channel, *parameters)).fetchall()


def record(writer: sqlite3.Connection, channel: int, events: Sequence[HotEvent]) -> None:
    """Take in a channel's next events."""
    _record_said(writer, channel, events)
    for hot in events:
        at = hot.recorded
        is_plain = isinstance(at.event, MessagePosted) and at.event.thread is None
        if not is_plain and at.void is None:
            _record_one(writer, channel, at)


def _record_said(writer: sqlite3.Connection, channel: int, events: Sequence[HotEvent]) -> None:
    newest = "SELECT first, last FROM said WHERE channel = ? ORDER BY first DESC LIMIT 1"
    ranges: list[list[int]] = [list(row) for row in writer.execute(newest, (channel,))]
    before = [list(row) for row in ranges]
    for hot in events:
        at = hot.recorded
        if at.void is None and isinstance(at.event, MessagePosted):
            if ranges and ranges[-1][1] == at.seq - 1:
                ranges[-1][1] = at.seq
            else:
                ranges.append([at.seq, at.seq])
    if ranges != before:
        writer.executemany("REPLACE INTO said VALUES (?, ?, ?)", ((channel, *both) for both in ranges))


def _record_one(writer: sqlite3.Connection, channel: int, at: Recorded) -> None:
    event = at.event
    if isinstance(event, MessagePosted):
        if event.thread is not None and event.thread < at.seq:
            writer.execute("INSERT INTO replies VALUES (?, ?, ?, 0)", (channel, at.seq, event.thread))
            writer.execute(_ONE_REPLY_MORE, (channel, event.thread))
    elif isinstance(event, MessageEdited):
        if event.ref < at.seq:
            writer.execute("REPLACE INTO edits VALUES (?, ?, ?, ?)", (channel, event.ref, at.seq, at.at_us))
    elif isinstance(event, MessageDeleted):
        if event.ref < at.seq:
            _record_deletion(writer, channel, at, event)
    elif isinstance(event, ReactionAdded):
        row = (channel, event.ref, event.emoji, event.author)
        if (
            event.ref < at.seq
            and writer.execute("INSERT OR IGNORE INTO reactions VALUES (?, ?, ?, ?)", row).rowcount
        ):
            writer.execute(_ONE_AUTHOR_MORE, row[:3])
    elif isinstance(event, ReactionRemoved):
        _record_taken_back(writer, (channel, event.ref, event.emoji, event.author))


def _record_deletion(writer: sqlite3.Connection, channel: int, at: Recorded, event: MessageDeleted) -> None:
    row = (channel, event.ref, at.seq, at.at_us, event.author)
    if not writer.execute("INSERT OR IGNORE INTO deletions VALUES (?, ?, ?, ?, ?)", row).rowcount:
        return
    live = "UPDATE replies SET deleted = 1 WHERE channel = ? AND seq = ? RETURNING root"
    for (root,) in writer.execute(live, (channel, event.ref)).fetchall():
        fewer = "UPDATE threads SET replies = replies - 1 WHERE channel = ? AND root = ?"
        writer.execute(fewer, (channel, root))


def _record_taken_back(writer: sqlite3.Connection, row: tuple[int, int, str, str]) -> None:
    mine = "DELETE FROM reactions WHERE channel = ? AND ref = ? AND emoji = ? AND author = ?"
    if writer.execute(mine, row).rowcount:
        for statement in _FEWER:
            writer.execute(statement, row[:3])
