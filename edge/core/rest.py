"""How long a feed rests between two flushes: in proportion to what a flush takes.

A flush to thousands of sessions holds the loop for milliseconds, and commands (of the same channel, too) wait
for it. Resting twice as long as the last flush took leaves them two thirds of the loop whatever the channel's
size; what arrives meanwhile is written together, so more traffic makes flushes larger, not more frequent.
A small channel is done before a timer could be set, and never rests.

Pure: seconds of a steady clock come in.
"""

from __future__ import annotations

FACTOR = 2.0
REST_MIN_S = 0.001
REST_MAX_S = 0.05


class Rest:
    """The rest of one feed."""

    def __init__(self) -> None:
        self._until_s = 0.0

    def flushed(self, began_s: float, ended_s: float) -> None:
        """A flush took this long."""
        self._until_s = ended_s + min(FACTOR * (ended_s - began_s), REST_MAX_S)

    def left_s(self, now_s: float) -> float:
        """Seconds until the next flush may begin; 0.0 if it may now."""
        left_s = self._until_s - now_s
        return left_s if left_s > REST_MIN_S else 0.0
