"""Who comes first while a crowd comes back: who is served already, then those who wait for their welcome.

A turn of the loop begins a few hellos, and the others wait in order: so whoever writes meanwhile is answered
in between, however many have come. And whoever has been welcomed can wait for what is of less use: the list
of channels beside the ones that the client has named itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator

from edge import metrics

HELLOS_OF_TURN = 16
"""Some 5 ms of work."""

PATIENCE_S = 10.0
"""So long a list waits at most, however many come."""

LOOK_S = 0.02
AT_ONCE = 32
"""Lists let go with each look: as many as one question to the directory is about."""

_Waiting = tuple[float, asyncio.Future[None]]
"""Since when (seconds of the loop's clock), and for what."""


class Rush:
    """One per edge, where each session waits for its welcome, and then for its list.

    Where `waiting_max` wait for the same already, nobody else does: as many as there may be sessions.
    """

    def __init__(self, waiting_max: int) -> None:
        self._opening = 0
        self._hellos: deque[_Waiting] = deque(maxlen=waiting_max)
        self._left = HELLOS_OF_TURN
        """How many more this turn of the loop may begin."""
        self._is_turning = False
        self._waiting: deque[_Waiting] = deque(maxlen=waiting_max)
        metrics.HELLOS_WAITING.set_function(lambda: len(self._hellos))
        metrics.LISTS_WAITING.set_function(lambda: len(self._waiting))

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """A client has said hello, and waits for its welcome."""
        self._opening += 1
        try:
            yield
        finally:
            self._opening -= 1

    # ------------------------------------------------------------ hellos

    def behind_s(self, now_s: float) -> float:
        """How long the next hello has waited until now."""
        return now_s - self._hellos[0][0] if self._hellos else 0.0

    async def turn(self) -> None:
        """Returns when a hello may be served: so many a turn of the loop, in the order of those who ask."""
        loop = asyncio.get_running_loop()
        if not self._is_turning:
            self._is_turning, self._left = True, HELLOS_OF_TURN
            loop.call_soon(self._next_turn)
        if (self._left > 0 and not self._hellos) or len(self._hellos) == self._hellos.maxlen:
            self._left -= 1
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._hellos.append((loop.time(), turn))
        await turn

    def _next_turn(self) -> None:
        was_used = self._left < HELLOS_OF_TURN
        self._left = HELLOS_OF_TURN
        while self._hellos and self._left:
            self._left -= _let_go(self._hellos)
        self._is_turning = was_used or self._left < HELLOS_OF_TURN
        if self._is_turning:
            asyncio.get_running_loop().call_soon(self._next_turn)

    # ------------------------------------------------------------ lists

    async def over(self) -> None:
        """Returns when nobody waits for a welcome, in the order of those who ask, or after `PATIENCE_S`."""
        if len(self._waiting) == self._waiting.maxlen:
            return
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        if not self._waiting:
            loop.call_later(LOOK_S, self._look)
        self._waiting.append((loop.time(), turn))
        await turn

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        too_long_s = loop.time() - PATIENCE_S
        for _ in range(min(AT_ONCE, len(self._waiting))):
            if self._opening and self._waiting[0][0] > too_long_s:
                break
            _let_go(self._waiting)
        if self._waiting:
            loop.call_later(LOOK_S, self._look)


def _let_go(waiting: deque[_Waiting]) -> bool:
    """Whether whoever was next was still there: its session may be over."""
    _, turn = waiting.popleft()
    if turn.done():
        return False
    turn.set_result(None)
    return True
