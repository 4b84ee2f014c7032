"""Questions that wait for one answer each. Those with the same time-out share a timer.

Every commit is such a question, and nearly every one is answered within milliseconds: a timer of its own,
made to be cancelled, cost as much as its answer took to read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared.envelope import Message

Then = Callable[[Message | None], None]
"""Hears the answer where it is read, or None when none came in time."""


class Questions:
    """One per connection, whose callers bound what waits. Tokens are used once."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Then, dict[str, float]]] = {}
        self._due: dict[float, dict[str, float]] = {}
        """By time-out: when each token's is over, in this order. Who stands here has a timer."""

    def ask(self, token: str, timeout_s: float, then: Then) -> None:
        """From now on, so long, `then` waits for the answer with this token."""
        loop = asyncio.get_running_loop()
        due = self._due.get(timeout_s)
        if due is None:
            due = self._due[timeout_s] = {}
            loop.call_later(timeout_s, self._look, timeout_s)
        due[token] = loop.time() + timeout_s
        self._open[token] = then, due

    def answer(self, token: str, message: Message) -> bool:
        """Tell whoever waits for it; False if nobody does."""
        found = self._open.pop(token, None)
        if found is None:
            return False
        then, due = found
        del due[token]
        then(message)
        return True

    def __len__(self) -> int:
        return len(self._open)

    def _look(self, timeout_s: float) -> None:
        """Some may be over. Each hears it in a call of its own: one who fails leaves the others theirs."""
        loop, due = asyncio.get_running_loop(), self._due[timeout_s]
        now_s = loop.time()
        while due:
            token, at_s = next(iter(due.items()))
            if at_s > now_s:
                loop.call_at(at_s, self._look, timeout_s)
                return
            then, _ = self._open.pop(token)
            del due[token]
            loop.call_soon(then, None)
        del self._due[timeout_s]
