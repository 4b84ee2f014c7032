"""The cache's table of members, and who may read what by it: public channels, and those one is a member of.

A batch touches only the rows of users whose belonging its events can have changed; the state after it says
what each of them is now. So a channel of 10,000 members costs nothing while people only talk in it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from archiver.core.hot import Head, HotEvent
from shared.channel import regrouped
from shared.ids import ChannelId, UserId, WorkspaceId

SCHEMA = """
CREATE TABLE members (
    user TEXT NOT NULL, channel INTEGER NOT NULL, PRIMARY KEY (user, channel)) WITHOUT ROWID;
CREATE INDEX public_channels ON channels (workspace, channel) WHERE kind = 'public'
"""

_READABLE = """
SELECT channel FROM channels WHERE workspace = ?1 AND kind = 'public'
UNION ALL
SELECT channels.channel FROM members CROSS JOIN channels ON channels.no = members.channel
WHERE members.user = ?2 AND channels.workspace = ?1
"""


def readable(reader: sqlite3.Connection, workspace: WorkspaceId, user: UserId) -> set[ChannelId]:
    """The channels of a workspace that a user may read."""
    return {ChannelId(row[0]) for row in reader.execute(_READABLE, (workspace, user))}


def record(writer: sqlite3.Connection, channel: int, head: Head, events: Sequence[HotEvent]) -> None:
    """Take in a channel's next events, messages left out; `head` is where it stands after them."""
    users = {user for hot in events for user in regrouped(hot.recorded.event)}
    members = head.state.members if head.state else {}
    for user in sorted(users):
        if user in members:
            writer.execute("INSERT OR IGNORE INTO members VALUES (?, ?)", (user, channel))
        else:
            writer.execute("DELETE FROM members WHERE user = ? AND channel = ?", (user, channel))
