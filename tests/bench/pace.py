"""Open-loop load: every message has a time at which it is due, whatever became of those before it.

Latency is counted from the due time, so a stall of the system (or of the sender) shows in every message that
was due during it. A sender that waits for the last answer before the next question would leave exactly those
out (coordinated omission).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

LEAD_NS = 20_000_000


async def paced(per_s: float, count: int, act: Callable[[int, int], None]) -> list[int]:
    """Call `act(number, due_ns)` for each of `count` messages when it is due.

    Returns by how many nanoseconds each call came late, ascending: the sender's own share of the latency.
    """
    late_ns: list[int] = []
    start_ns = time.monotonic_ns() + LEAD_NS
    for number in range(count):
        due_ns = start_ns + int(number * 1e9 / per_s)
        while (early_ns := due_ns - time.monotonic_ns()) > 0:  # noqa: ASYNC110  # the clock is the event
            await asyncio.sleep(early_ns / 1e9)
        act(number, due_ns)
        late_ns.append(time.monotonic_ns() - due_ns)
        if early_ns < -LEAD_NS:  # far behind: still let answers in between
            await asyncio.sleep(0)
    return sorted(late_ns)
