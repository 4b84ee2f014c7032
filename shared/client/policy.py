"""What to do after a connection ended: wait and come back, come back with a new token, or stop (P10).

Waits grow with full jitter, so that those who were cut off together do not return together, and shrink
back only after a session that held: a server that fails at once is not hammered (AT-65). A session that was
sent elsewhere has not failed: in a rolling restart that happens several times a minute. The server's own
advice (`bye.retry_after_ms`, `Retry-After`) is the least wait.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.client.errors import SessionEnded

FIRST_WAIT_S = 0.5
WAIT_MAX_S = 30.0
STABLE_S = 10.0
"""A session that held this long counts as a success."""

GOING_AWAY = 4000
"""The edge drains; it has spread its sessions itself, and others are there."""

RENEWABLE = frozenset({401, 4500, 4501, 4502})
"""Close codes and HTTP statuses after which another token may help."""

FINAL = frozenset({400, 403, 404, 1007, 1009})
"""The same frame or request would only fail again."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Come back after this time."""

    wait_s: float


@dataclass(frozen=True, slots=True)
class Renew:
    """Ask for a new token, then come back at once."""


Verdict = Wait | Renew


class Reconnect:
    """The waits of one client. `draw(x)` gives a random number between 0 and x."""

    def __init__(self, draw: Callable[[float], float], *, renewable: bool) -> None:
        self._draw = draw
        self._renewable = renewable
        self._renewed = False
        self._ceiling_s = FIRST_WAIT_S

    def ended(self, code: int, reason: str, *, retry_after_s: float | None, held_s: float) -> Verdict:
        """The verdict on a connection that ended with a close code, or an HTTP status at the upgrade.

        `held_s` is how long its session was open. Raises `SessionEnded` if the client must stop.
        """
        if held_s >= STABLE_S:
            self._ceiling_s = FIRST_WAIT_S
            self._renewed = False
        if code in RENEWABLE and self._renewable and not self._renewed:
            self._renewed = True
            return Renew()
        if code in RENEWABLE or code in FINAL or 4500 <= code < 5000:
            raise SessionEnded(code, reason)
        wait_s = (retry_after_s or 0.0) + self._draw(self._ceiling_s)
        if code != GOING_AWAY or not held_s:
            self._ceiling_s = min(WAIT_MAX_S, self._ceiling_s * 2)
        return Wait(wait_s)
