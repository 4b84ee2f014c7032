"""How many new sessions a second an edge begins, and when those come back whom it refuses (AT-64).

A bucket of tokens says how many, and an edge that is behind with its hellos takes none, however slow the
machine is. Whoever is refused is told a moment of their own, one behind the other at the bucket's pace: with
one answer for all, thousands would come back in the same second, and nearly all of them in vain. Pure:
seconds of one steady clock come in.
"""

from __future__ import annotations

import math

from edge.core.limits import Bucket, Rate
from shared.errors import Unavailable

NAME = "sessions"
BEHIND_MAX_S = 5.0
"""So long a hello may wait for its turn: who comes later than that is better off elsewhere, or later."""

PROMISE_MAX_S = 10.0
"""Later than that nobody is told to come: others may have given up by then."""


class Admission:
    """One edge's."""

    def __init__(self, rate: Rate, now_s: float) -> None:
        self._bucket = Bucket(NAME, rate, at_s=now_s)
        self._promised_s = now_s

    def enter(self, now_s: float, behind_s: float = 0.0) -> None:
        """One more session; raises `Unavailable` with the time to come back.

        `behind_s`: how long the next hello has waited.
        """
        rate = self._bucket.rate
        if behind_s > BEHIND_MAX_S:
            wait_s, reason = behind_s, f"hellos wait for {behind_s:.1f} s already"
        elif (wait_s := self._bucket.wait_s(now_s)) == 0.0:
            self._bucket.take(now_s)
            return
        else:
            reason = f"more than {rate.per_s:g} new sessions a second ({rate.burst} at once)"
        turn_s = max(now_s + wait_s, self._promised_s + 1.0 / rate.per_s)
        self._promised_s = min(turn_s, now_s + PROMISE_MAX_S)
        raise Unavailable(
            reason,
            retry_after_ms=math.ceil((self._promised_s - now_s) * 1000),
            limit=NAME,
        )
