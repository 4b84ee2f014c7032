"""Retention: how old a message is, and from which moment on it is still kept.

Days are whole ones of UTC: what is kept for `days` goes with the first midnight that is so many days after
it. A message that was imported is as old as it really is, but no younger than the log says.
"""

from __future__ import annotations

from shared.clock import parse_rfc3339
from shared.events import Recorded

DAY_US = 86_400_000_000


def cut_us(now_us: int, days: int) -> int:
    """Messages from before this moment (microseconds since 1970) have expired by `now_us`."""
    return max(0, now_us // DAY_US - days) * DAY_US


def said_us(recorded: Recorded) -> int:
    """When an event really happened, the log's time at the latest."""
    imported = recorded.event.imported
    if imported is None:
        return recorded.at_us
    try:
        return min(recorded.at_us, parse_rfc3339(imported.at))
    except (ValueError, OverflowError):  # the edge checks it, another publisher may not
        return recorded.at_us
