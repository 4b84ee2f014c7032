"""Who comes first while a crowd comes back: those who still wait for their welcome.

Whoever has been served already can wait for what is of less use: the list of channels beside the ones that
the client has named itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator

from edge import metrics

PATIENCE_S = 10.0
"""So long one waits at most, however many come."""

LOOK_S = 0.02
AT_ONCE = 32
"""Let go with each look: as many as one question to the directory is about."""


class Rush:
    """One per edge. Where `waiting_max` wait already, nobody else does."""

    def __init__(self, waiting_max: int) -> None:
        self._opening = 0
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque(maxlen=waiting_max)

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """A client has said hello, and waits for its welcome."""
        self._opening += 1
        try:
            yield
        finally:
            self._opening -= 1

    async def over(self) -> None:
        """Returns when nobody waits for a welcome, in the order of those who ask, or after `PATIENCE_S`."""
        if len(self._waiting) == self._waiting.maxlen:
            return
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        if not self._waiting:
            loop.call_later(LOOK_S, self._look)
        self._waiting.append((loop.time(), turn))
        metrics.LISTS_WAITING.inc()
        try:
            await turn
        finally:
            metrics.LISTS_WAITING.dec()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        too_long_s = loop.time() - PATIENCE_S
        for _ in range(min(AT_ONCE, len(self._waiting))):
            since_s, turn = self._waiting[0]
            if self._opening and since_s > too_long_s:
                break
            self._waiting.popleft()
            if not turn.done():  # its session may be over
                turn.set_result(None)
        if self._waiting:
            loop.call_later(LOOK_S, self._look)
