"""The cache's table of ids: where each command that a channel has recorded stands in it."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator, Sequence

from archiver.core.hot import HotEvent
from shared.events import Unreadable
from shared.fingerprints import ERASED, fingerprint
from shared.ids import ChannelKey, CommandId, Seq, StreamSeq, UserId
from shared.records import KnownId

ASKED_AT_ONCE = (8, 64)
"""Ids in one statement: each costs two changes of the thread that runs, which is most of a lookup."""

SCHEMA = """
CREATE TABLE ids (
    channel INTEGER NOT NULL, author TEXT NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL,
    stream_seq INTEGER NOT NULL, at_us INTEGER NOT NULL, fingerprint TEXT NOT NULL, void TEXT,
    PRIMARY KEY (channel, author, id)) WITHOUT ROWID
"""

_KNOWN = """
WITH asked (author, id) AS (VALUES (?, ?))
SELECT asked.author, asked.id, seq, stream_seq, at_us, fingerprint, void FROM asked CROSS JOIN ids
ON channel = (SELECT no FROM channels WHERE workspace = ? AND channel = ?)
AND ids.author = asked.author AND ids.id = asked.id
"""
_KNOWN_OF = {
    size: _KNOWN.replace("VALUES (?, ?)", "VALUES " + ", ".join(["(?, ?)"] * size)) for size in ASKED_AT_ONCE
}
_Row = tuple[str, str, int, int, int, str, str | None]


def found(
    reader: sqlite3.Connection, key: ChannelKey, ids: Sequence[tuple[UserId, CommandId]]
) -> list[KnownId | None]:
    """What the channel holds under each (author, id)."""
    known: dict[tuple[str, str], KnownId] = {}
    for start in range(0, len(ids), ASKED_AT_ONCE[-1]):
        for row in _found(reader, key, ids[start : start + ASKED_AT_ONCE[-1]]):
            known[row[0], row[1]] = _known(row)
    return [known.get(pair) for pair in ids]


def record(writer: sqlite3.Connection, channel: int, events: Sequence[HotEvent]) -> None:
    """Take in a channel's next events: of two with one id, the first is the one that counts, for ever."""
    writer.executemany(
        "INSERT OR IGNORE INTO ids VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        _rows(channel, events),
    )


def forget_body(writer: sqlite3.Connection, channel: int, author: UserId, command: CommandId) -> None:
    """Of an id, keep only where it stands."""
    writer.execute(
        "UPDATE ids SET fingerprint = ? WHERE channel = ? AND author = ? AND id = ?",
        (ERASED, channel, author, command),
    )


def _found(
    reader: sqlite3.Connection, key: ChannelKey, ids: Sequence[tuple[UserId, CommandId]]
) -> list[_Row]:
    size = next(size for size in ASKED_AT_ONCE if size >= len(ids))
    nothing = [None] * (2 * (size - len(ids)))
    asked = [*itertools.chain.from_iterable(ids), *nothing, *key]
    return reader.execute(_KNOWN_OF[size], asked).fetchall()


def _rows(channel: int, events: Sequence[HotEvent]) -> Iterator[tuple[int, *_Row]]:
    for hot in events:
        at = hot.recorded
        event = at.event
        if not isinstance(event, Unreadable):
            said = fingerprint(event)
            yield channel, event.author, event.id, at.seq, at.stream_seq, at.at_us, said, at.void


def _known(row: _Row) -> KnownId:
    _, _, seq, stream_seq, at_us, digest, void = row
    return KnownId(seq=Seq(seq), stream_seq=StreamSeq(stream_seq), at_us=at_us, fingerprint=digest, void=void)
