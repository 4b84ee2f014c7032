"""The cache's tables of erasures: what the log has ever said is to be erased in this partition.

`texts_us`: no text that it names was recorded later. `late_edits`: texts of which no erasure says anything,
although their message was erased before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from archiver.core.hot import HotEvent
from shared.erasure import Erasure, Expired, erasure_of
from shared.events import MessageEdited, Recorded
from shared.ids import ChannelId, ChannelKey, Seq, StreamSeq, UserId, WorkspaceId

SCHEMA = """
CREATE TABLE erasures (
    stream_seq INTEGER PRIMARY KEY, channel INTEGER NOT NULL, before INTEGER NOT NULL,
    ref INTEGER, user TEXT, since INTEGER, below INTEGER, older_us INTEGER, texts_us INTEGER NOT NULL);
CREATE INDEX erasures_by_ref ON erasures (channel, ref) WHERE ref IS NOT NULL;
CREATE INDEX erasures_by_user ON erasures (channel, user, before) WHERE user IS NOT NULL;
CREATE INDEX erasures_by_below ON erasures (channel, below) WHERE below IS NOT NULL;
CREATE TABLE forgotten (upto INTEGER NOT NULL);
CREATE TABLE late_edits (
    channel INTEGER NOT NULL, ref INTEGER NOT NULL, seq INTEGER NOT NULL, at_us INTEGER NOT NULL,
    author TEXT NOT NULL, PRIMARY KEY (channel, ref)) WITHOUT ROWID
"""

_SINCE = """
SELECT workspace, channels.channel, erasures.stream_seq, before, ref, user, since, below, older_us
FROM erasures CROSS JOIN channels ON channels.no = erasures.channel
WHERE erasures.stream_seq > ? ORDER BY erasures.stream_seq
"""

_ERASED_BEFORE = """
SELECT EXISTS (SELECT 1 FROM erasures WHERE channel = ?1 AND ref = ?2 AND before > ?2)
OR EXISTS (SELECT 1 FROM erasures WHERE channel = ?1 AND below > ?2)
OR EXISTS (SELECT 1 FROM erasures WHERE channel = ?1 AND user = ?3 AND before > ?2)
"""
_LATE = """
SELECT workspace, channels.channel, ref, late_edits.seq, at_us, author
FROM late_edits CROSS JOIN channels ON channels.no = late_edits.channel
"""
_NOT_LATE = """
DELETE FROM late_edits WHERE channel = ?1 AND seq < ?2 AND (ref = ?3 OR author = ?4 OR ref < ?5)
"""


class LateEdit(NamedTuple):
    """The newest edit of a message that had been erased before, or had expired."""

    key: ChannelKey
    ref: Seq
    seq: Seq
    at_us: int
    author: UserId


def since(reader: sqlite3.Connection, stream_seq: StreamSeq) -> list[Erasure]:
    """The erasures behind a position, in order."""
    return [
        Erasure(
            ChannelKey(WorkspaceId(workspace), ChannelId(channel)),
            StreamSeq(at),
            Seq(before),
            None if ref is None else Seq(ref),
            None if user is None else UserId(user),
            None if below is None else Expired(Seq(since), Seq(below), older_us),
        )
        for workspace, channel, at, before, ref, user, since, below, older_us in reader.execute(
            _SINCE, (stream_seq,)
        )
    ]


def late_edits(reader: sqlite3.Connection) -> list[LateEdit]:
    """Those of which no erasure says anything."""
    return [
        LateEdit(ChannelKey(WorkspaceId(workspace), ChannelId(channel)), *edit)
        for workspace, channel, *edit in reader.execute(_LATE)
    ]


def texts_us(reader: sqlite3.Connection) -> int:
    """No text that any of them names was recorded later; 0 if there is none."""
    return int(reader.execute("SELECT coalesce(max(texts_us), 0) FROM erasures").fetchone()[0])


def found_text(writer: sqlite3.Connection, stream_seq: StreamSeq, at_us: int) -> None:
    """The erasures up to a position name a text that was recorded then."""
    newest = "SELECT max(stream_seq) FROM erasures WHERE stream_seq <= ?"
    writer.execute(
        f"UPDATE erasures SET texts_us = max(texts_us, ?) WHERE stream_seq = ({newest})",  # noqa: S608
        (at_us, stream_seq),
    )


def forgotten(reader: sqlite3.Connection) -> StreamSeq:
    """The last event of which the cache does not know any more what it erases; 0: none."""
    return StreamSeq(reader.execute("SELECT coalesce(max(upto), 0) FROM forgotten").fetchone()[0])


def forget(writer: sqlite3.Connection, upto: StreamSeq) -> None:
    """It has forgotten up to there."""
    writer.execute("DELETE FROM forgotten")
    writer.execute("INSERT INTO forgotten VALUES (?)", (upto,))


def record(
    writer: sqlite3.Connection, channel: int, others: Sequence[HotEvent], events: Sequence[HotEvent]
) -> None:
    """Take in a channel's next events; `others` are those that are no messages."""
    for hot in others:
        at, event = hot.recorded, hot.recorded.event
        if (erasure := erasure_of(at)) is not None:
            _record_erasure(writer, channel, erasure, at.at_us, events)
        elif isinstance(event, MessageEdited) and at.void is None and not event.erased:
            (is_late,) = writer.execute(_ERASED_BEFORE, (channel, event.ref, event.author)).fetchone()
            if is_late:
                row = (channel, event.ref, at.seq, at.at_us, event.author)
                writer.execute("REPLACE INTO late_edits VALUES (?, ?, ?, ?, ?)", row)


def _record_erasure(
    writer: sqlite3.Connection, channel: int, erasure: Erasure, at_us: int, events: Sequence[HotEvent]
) -> None:
    expired = erasure.expired or (None, None, None)
    said_us = newest_text_us(erasure, at_us, (it.recorded for it in events))
    named = (erasure.before, erasure.ref, erasure.user)
    writer.execute(
        "INSERT INTO erasures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (erasure.stream_seq, channel, *named, *expired, said_us),
    )
    writer.execute(_NOT_LATE, (channel, *named, erasure.expired and erasure.expired.below))


def newest_text_us(erasure: Erasure, at_us: int, events: Iterable[Recorded]) -> int:
    """When the newest text was recorded that an erasure of `at_us` names, as far as it is not archived.

    `events` are those of the channel that were not. What expires is old, but for imports and late edits.
    """
    if erasure.expired is None:
        return at_us
    named = (it.at_us for it in events if erasure.takes(it))
    return max(named, default=erasure.expired.older_us)
