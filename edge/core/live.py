"""The gap rule: where a republished message stands, seen from a feed's cursor.

RePublish tells with each message its own sequence and the sequence of the newest message of the same
subject before it. A feed whose cursor is `mine` can therefore prove that nothing is missing in between.
Late messages of an old leader are normal after a leader change; so are holes.
"""

from __future__ import annotations

from enum import Enum

from shared.ids import StreamSeq


class Place(Enum):
    """What to do with a live message."""

    NEXT = "next"
    """It follows the cursor: deliver it."""
    OLD = "old"
    """It was delivered already: drop it."""
    HOLE = "hole"
    """Something before it never arrived: read `(mine, sequence]` from the log."""
    TRIMMED = "trimmed"
    """Its predecessor is gone from the log: start again from a checkpoint before counting on."""
    REGRESSED = "regressed"
    """The log has lost what we had: the numbers that were given out are worth nothing (new epoch)."""


def place(mine: StreamSeq, sequence: StreamSeq, last: StreamSeq) -> Place:
    """Where the message `sequence` stands, whose predecessor in its subject is `last` (0: none stored)."""
    if sequence <= mine:
        return Place.OLD
    if last == mine:
        return Place.NEXT
    if last > mine:
        return Place.HOLE
    return Place.TRIMMED if last == 0 else Place.REGRESSED
