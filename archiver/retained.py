"""The cache's table of channels whose messages expire: so that nobody looks through all the others."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from archiver.core.hot import Head, HotEvent
from shared.events import ChannelRetentionSet
from shared.ids import ChannelId, ChannelKey, WorkspaceId

PAGE = 500

SCHEMA = "CREATE TABLE retained (channel INTEGER PRIMARY KEY)"

_BEHIND = """
SELECT workspace, channels.channel FROM retained CROSS JOIN channels ON channels.no = retained.channel
WHERE (workspace, channels.channel) > (?, ?) ORDER BY workspace, channels.channel LIMIT ?
"""


def behind(reader: sqlite3.Connection, after: ChannelKey) -> list[ChannelKey]:
    """A page of them, in the order of their names."""
    rows = reader.execute(_BEHIND, (*after, PAGE))
    return [ChannelKey(WorkspaceId(workspace), ChannelId(channel)) for workspace, channel in rows]


def record(writer: sqlite3.Connection, channel: int, head: Head, events: Sequence[HotEvent]) -> None:
    """Take in a channel's next events, messages left out; `head` is where it stands after them."""
    if not any(isinstance(hot.recorded.event, ChannelRetentionSet) for hot in events):
        return
    if head.state is not None and head.state.retention_days is not None:
        writer.execute("INSERT OR IGNORE INTO retained VALUES (?)", (channel,))
    else:
        writer.execute("DELETE FROM retained WHERE channel = ?", (channel,))
