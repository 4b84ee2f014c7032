"""The cache's table of erasures: what the log has ever said is to be erased in this partition.

`texts_us`: no text that it names was recorded later.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from archiver.core.hot import HotEvent
from shared.erasure import Erasure, Expired, erasure_of
from shared.events import Recorded
from shared.ids import ChannelId, ChannelKey, Seq, StreamSeq, UserId, WorkspaceId

SCHEMA = """
CREATE TABLE erasures (
    stream_seq INTEGER PRIMARY KEY, channel INTEGER NOT NULL, before INTEGER NOT NULL,
    ref INTEGER, user TEXT, since INTEGER, below INTEGER, older_us INTEGER, texts_us INTEGER NOT NULL);
CREATE TABLE forgotten (upto INTEGER NOT NULL)
"""

_SINCE = """
SELECT workspace, channels.channel, erasures.stream_seq, before, ref, user, since, below, older_us
FROM erasures CROSS JOIN channels ON channels.no = erasures.channel
WHERE erasures.stream_seq > ? ORDER BY erasures.stream_seq
"""


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
        erasure = erasure_of(hot.recorded)
        if erasure is not None:
            expired = erasure.expired or (None, None, None)
            said_us = newest_text_us(erasure, hot.recorded.at_us, (it.recorded for it in events))
            writer.execute(
                "INSERT INTO erasures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    erasure.stream_seq,
                    channel,
                    erasure.before,
                    erasure.ref,
                    erasure.user,
                    *expired,
                    said_us,
                ),
            )


def newest_text_us(erasure: Erasure, at_us: int, events: Iterable[Recorded]) -> int:
    """When the newest text was recorded that an erasure of `at_us` names, as far as it is not archived.

    `events` are those of the channel that were not. What expires is old, but for imports and late edits.
    """
    if erasure.expired is None:
        return at_us
    named = (it.at_us for it in events if erasure.takes(it))
    return max(named, default=erasure.expired.older_us)
