"""The cache's table of erasures: what the log has ever said is to be erased in this partition."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from archiver.core.hot import HotEvent
from shared.erasure import Erasure, erasure_of
from shared.ids import ChannelId, ChannelKey, Seq, StreamSeq, UserId, WorkspaceId

SCHEMA = """
CREATE TABLE erasures (
    stream_seq INTEGER PRIMARY KEY, channel INTEGER NOT NULL, before INTEGER NOT NULL,
    ref INTEGER, user TEXT, at_us INTEGER NOT NULL)
"""

_SINCE = """
SELECT workspace, channels.channel, erasures.stream_seq, before, ref, user
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
        )
        for workspace, channel, at, before, ref, user in reader.execute(_SINCE, (stream_seq,))
    ]


def newest_us(reader: sqlite3.Connection) -> int:
    """When the newest of all was said; 0 if there is none."""
    return int(reader.execute("SELECT coalesce(max(at_us), 0) FROM erasures").fetchone()[0])


def record(writer: sqlite3.Connection, channel: int, events: Sequence[HotEvent]) -> None:
    """Take in a channel's next events."""
    for hot in events:
        erasure = erasure_of(hot.recorded)
        if erasure is not None:
            writer.execute(
                "INSERT INTO erasures VALUES (?, ?, ?, ?, ?, ?)",
                (
                    erasure.stream_seq,
                    channel,
                    erasure.before,
                    erasure.ref,
                    erasure.user,
                    hot.recorded.at_us,
                ),
            )
