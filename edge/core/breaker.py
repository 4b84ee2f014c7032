"""A circuit breaker around the commits of one stream: refuse at once what would only wait.

    closed ──no commit was answered promptly for `slow_s`──▶ open ──any answer──▶ half-open
      ▲                                                        ▲                      │
      │                                                        └──no prompt answer────┤
      └──the window is whole, or nobody was refused for `slow_s`──────────────────────┘

* What counts is one point in time: the start of the oldest commit since which none was answered promptly. So
  a log that answers late opens the breaker like one that does not answer, and a single commit that is stuck
  among others that are not does not.
* Open: the commits that were sent before are still tried by their owners, and an answer to any of them ends
  it. They are the probes; a new one is let through if none is left, and now and then, in case all are stuck.
* Half-open: as many commits in flight as a window allows, which begins with one and grows by one with each
  prompt answer. Who was refused comes back in a crowd; the log is never given more than it has just shown
  that it can do.
* In every state the commits in flight are bounded.

Pure: seconds of a steady clock come in. One commit is a `Ticket` from `admit` to `answered` or `gave_up`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from shared.errors import Unavailable

RETRY_S_MIN = 0.5
RETRY_S_MAX = 4.0
PROBE_S = 5.0
"""How often a commit is let through an open breaker beside others that are still tried."""


class State(Enum):
    """What happens to a new commit."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Bounds:
    """When an answer is late, and how many commits may wait for one."""

    slow_s: float = 3.0
    in_flight_max: int = 2_000


@dataclass(slots=True, eq=False)
class Ticket:
    """A commit that was let through; `trial` says in which half-open phase, if in one."""

    stream: str
    started_s: float
    trial: int
    over: bool = False


class Breaker:
    """The breaker of one stream."""

    def __init__(self, stream: str, bounds: Bounds) -> None:
        self.stream = stream
        self.in_flight = 0
        self.state = State.CLOSED
        self._bounds = bounds
        self._waiting_since_s: float | None = None
        """Start of the first commit behind the newest prompt answer."""
        self._failing_since_s = 0.0
        """When `closed` was left; what half-open phases fail in between does not begin it anew."""
        self._probe_at_s = 0.0
        self._refused_at_s = 0.0
        self._trial = 0
        self._in_trial = 0
        self._window = 1

    def admit(self, now_s: float, *, reachable: bool, owed: bool = False) -> Ticket:
        """Let a commit through, or raise `Unavailable`: it was not sent.

        `reachable`: there is a connection, so a try can bring an answer. `owed`: it was sent before and its
        outcome is not known, so it is tried on whatever the state.
        """
        self.look(now_s)
        if not owed:
            self._check(now_s, reachable)
        if self._waiting_since_s is None:
            self._waiting_since_s = now_s
        self.in_flight += 1
        if self.state is State.HALF_OPEN:
            self._in_trial += 1
        return Ticket(self.stream, now_s, self._trial if self.state is State.HALF_OPEN else 0)

    def answered(self, ticket: Ticket, now_s: float) -> None:
        """JetStream has said what became of the commit, whatever it was."""
        self._end(ticket)
        prompt = now_s - ticket.started_s <= self._bounds.slow_s
        if prompt:
            self._waiting_since_s = None
        if self.state is State.OPEN:
            self._half_open(now_s)
        elif self.state is State.HALF_OPEN and prompt and ticket.trial == self._trial:
            self._window += 1
            if self._window >= self._bounds.in_flight_max or self._unrefused(now_s):
                self.state = State.CLOSED

    def gave_up(self, ticket: Ticket, now_s: float) -> None:
        """The commit has ended without an answer."""
        self._end(ticket)
        since_s = self._waiting_since_s
        in_trial = self.state is State.HALF_OPEN and ticket.trial == self._trial
        if in_trial and since_s is not None and since_s <= ticket.started_s:
            self._open(now_s)

    def look(self, now_s: float) -> State:
        """The state now: time alone can open the breaker."""
        since_s = self._waiting_since_s
        if self.state is not State.OPEN and since_s is not None and now_s - since_s > self._bounds.slow_s:
            self._open(now_s)
        return self.state

    def is_silent(self, now_s: float) -> bool:
        """Whether the stream is known not to answer: it is open, and being tried."""
        return self.look(now_s) is State.OPEN and self.in_flight > 0

    def retry_s(self, now_s: float) -> float:
        """When whoever is refused now may come again: the longer it lasts, the later."""
        if self.state is not State.OPEN:
            return RETRY_S_MIN
        return min(RETRY_S_MAX, max(RETRY_S_MIN, (now_s - self._failing_since_s) / 2))

    def _check(self, now_s: float, reachable: bool) -> None:
        if self.in_flight >= self._bounds.in_flight_max:
            raise self._refusal(now_s, "too many commits wait for JetStream", limit="commits")
        if self.state is State.OPEN:
            if not reachable or (self.in_flight and now_s < self._probe_at_s):
                raise self._refusal(now_s, "JetStream does not answer")
            self._probe_at_s = now_s + PROBE_S
        elif self.state is State.HALF_OPEN and self._in_trial >= self._window:
            raise self._refusal(now_s, "JetStream has just come back")

    def _refusal(self, now_s: float, text: str, limit: str | None = None) -> Unavailable:
        self._refused_at_s = now_s
        return Unavailable(text, retry_after_ms=math.ceil(self.retry_s(now_s) * 1000), limit=limit)

    def _unrefused(self, now_s: float) -> bool:
        return now_s - self._refused_at_s > self._bounds.slow_s

    def _end(self, ticket: Ticket) -> None:
        assert not ticket.over, "a commit ends once"
        ticket.over = True
        self.in_flight -= 1
        if ticket.trial and ticket.trial == self._trial:
            self._in_trial -= 1

    def _open(self, now_s: float) -> None:
        if self.state is State.CLOSED:
            self._failing_since_s = now_s
        self.state = State.OPEN
        self._trial += 1  # what the phase before has let through counts no more
        self._in_trial = 0
        self._probe_at_s = now_s + PROBE_S

    def _half_open(self, now_s: float) -> None:
        self.state = State.HALF_OPEN
        self._trial += 1
        self._in_trial = 0
        self._window = 1
        self._waiting_since_s = None
        self._refused_at_s = now_s
