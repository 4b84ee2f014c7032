"""The life of a session: when it is opened, pinged, and closed, and why (P5, P8, P9).

    new ──hello──▶ open ──close──▶ closing
     └───────────close────────────────┘

New: the client has ten seconds for its `hello`; how long that waits for its turn is our own affair. Open: the
server pings once per interval; any frame from the client counts as life, and one and a half silent intervals
end the session. A token carries the session to its expiry plus a grace, and `refresh` moves that. Closing:
nothing is sent any more.

Nearly everybody answers a ping at once, so when a silence is over is asked only for those who still owe an
answer a quarter of an interval later: one look per ping.

Pure: seconds of one steady clock come in, and what to do comes out. A wrong transition raises and changes
nothing.
"""

from __future__ import annotations

import enum
import functools
import math
from dataclasses import dataclass

from edge.core import wire_errors
from edge.core.wire_errors import CloseCode

HELLO_DEADLINE_S = 10.0
SILENCE_INTERVALS = 1.5
ANSWER_INTERVALS = 0.25
TOKEN_GRACE_S = 25.0
HEARTBEAT_MAX_S = 25.0


class State(enum.Enum):
    """Where a session stands."""

    NEW = "new"
    OPEN = "open"
    CLOSING = "closing"


class WrongTransition(AssertionError):
    """A bug: this cannot happen in this state."""


@dataclass(frozen=True)
class Timing:
    """The intervals of one server."""

    heartbeat_s: float = 20.0
    stall_limit_s: float = 30.0
    hello_deadline_s: float = HELLO_DEADLINE_S
    token_grace_s: float = TOKEN_GRACE_S

    def __post_init__(self) -> None:
        assert 0 < self.heartbeat_s <= HEARTBEAT_MAX_S, "P8: at least every 25 s"

    @functools.cached_property
    def rhythm_s(self) -> float:
        """Nothing that begins in an open session is due sooner than this."""
        return min(self.heartbeat_s, self.stall_limit_s, self.token_grace_s)

    @property
    def answer_s(self) -> float:
        """How long after a ping an answer is owed before anybody asks."""
        return ANSWER_INTERVALS * self.heartbeat_s


class Session:
    """The state machine of one session."""

    __slots__ = (
        *("_expires_s", "_heard_s", "_held", "_hello_due_s", "_pinged_s", "_stalled_s", "_timing"),
        "state",
    )

    def __init__(self, now_s: float, timing: Timing) -> None:
        self.state = State.NEW
        self._timing = timing
        self._hello_due_s = now_s + timing.hello_deadline_s
        self._heard_s = now_s
        self._pinged_s = now_s
        self._expires_s: float | None = None
        self._stalled_s: float | None = None
        self._held = False

    def greeted(self) -> None:
        """The hello has come, good or not."""
        self._hello_due_s = math.inf

    def opened(self, now_s: float, expires_s: float | None) -> None:
        """The hello was good. `expires_s`: when its token ends, None if it never does."""
        self._expect(State.NEW)
        self.state = State.OPEN
        self._heard_s = self._pinged_s = now_s
        self._expires_s = expires_s

    def refreshed(self, expires_s: float | None) -> None:
        """A newer token was accepted."""
        self._expect(State.OPEN)
        self._expires_s = expires_s

    def closing(self) -> None:
        """The close has begun, from whichever side. Repeating it is harmless."""
        self.state = State.CLOSING

    def heard(self, now_s: float) -> None:
        """Something arrived from the client."""
        self._heard_s = now_s

    def held(self, now_s: float, *, held: bool) -> None:
        """While the server does not read (a full lane), silence is its own and proves nothing."""
        self._held = held
        self._heard_s = now_s

    def stalled(self, now_s: float) -> None:
        """The socket takes no more bytes."""
        if self._stalled_s is None:
            self._stalled_s = now_s

    def flowing(self) -> None:
        """The socket took everything."""
        self._stalled_s = None

    def ping_due(self, now_s: float) -> bool:
        """Whether a heartbeat has to be sent now; True counts as sent."""
        if self.state is not State.OPEN or now_s - self._pinged_s < self._timing.heartbeat_s:
            return False
        self._pinged_s = now_s
        return True

    def verdict(self, now_s: float) -> CloseCode | None:
        """Why the session has to be closed now, if it has to."""
        if self.state is State.NEW:
            return wire_errors.HELLO_TIMEOUT if now_s >= self._hello_due_s else None
        if self.state is State.CLOSING:
            return None
        if self._expires_s is not None and now_s >= self._expires_s + self._timing.token_grace_s:
            return wire_errors.TOKEN_EXPIRED
        if self._stalled_s is not None and now_s - self._stalled_s >= self._timing.stall_limit_s:
            return wire_errors.LAGGING
        silence_s = now_s - self._heard_s
        if not self._held and silence_s >= SILENCE_INTERVALS * self._timing.heartbeat_s:
            return wire_errors.HEARTBEAT_TIMEOUT
        return None

    @property
    def owes_answer(self) -> bool:
        """Whether nothing has come since the last ping."""
        return self._heard_s < self._pinged_s and not self._held

    def due_s(self, now_s: float) -> float:
        """When to ask `verdict` and `ping_due` again: before that, neither says anything new.

        What begins meanwhile (a stall, a newer token) is due a rhythm later at the earliest, so whoever is
        asked in that rhythm is asked in time. Who was just pinged is expected to answer: to be asked again if
        it still `owes_answer` when `Timing.answer_s` is over.
        """
        timing = self._timing
        due_s = now_s + timing.rhythm_s
        if self.state is State.NEW:
            return min(due_s, self._hello_due_s)
        if self.state is State.CLOSING:
            return due_s
        due_s = min(due_s, self._pinged_s + timing.heartbeat_s)
        if self._expires_s is not None:
            due_s = min(due_s, self._expires_s + timing.token_grace_s)
        if self._stalled_s is not None:
            due_s = min(due_s, self._stalled_s + timing.stall_limit_s)
        silent_s = self._heard_s + SILENCE_INTERVALS * timing.heartbeat_s
        if self.owes_answer and not now_s < self._pinged_s + timing.answer_s <= silent_s:
            due_s = min(due_s, silent_s)
        return due_s

    def _expect(self, state: State) -> None:
        if self.state is not state:
            raise WrongTransition(f"needs {state.value}, is {self.state.value}")
