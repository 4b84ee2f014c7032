"""The circuit breakers of an edge: one per stream that it writes to, and one bound for all together.

Whoever commits asks here first, and says how it ended; what is refused was not sent. A stream that does not
answer refuses for itself alone (`core/breaker.py` says when), so one slow leader leaves the other logs open.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator

import structlog

from edge import metrics
from edge.core.breaker import RETRY_S_MIN, Bounds, Breaker, State, Ticket
from shared.errors import OutcomeUnknown, ParleyError, Unavailable

_VALUES = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}

_log = structlog.get_logger()


class Breakers:
    """One per edge. `reachable` says whether a server is connected."""

    def __init__(
        self,
        streams: Iterable[str],
        bounds: Bounds,
        *,
        in_flight_max: int,
        reachable: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._breakers = {stream: Breaker(stream, bounds) for stream in streams}
        self._in_flight_max = in_flight_max
        self._in_flight = 0
        self._reachable = reachable
        self._clock = clock
        self._shown = dict.fromkeys(self._breakers, State.CLOSED)
        for stream in self._breakers:
            metrics.STREAM_STATE.labels(stream).set(_VALUES[State.CLOSED])

    def admit(self, stream: str, *, owed: bool = False) -> Ticket:
        """Let a commit through, or raise `Unavailable`. What was sent before is `owed` to its sender."""
        breaker = self._breakers[stream]
        if self._in_flight >= self._in_flight_max and not owed:
            metrics.commits_refused("edge_full").inc()
            retry_ms = round(RETRY_S_MIN * 1000)
            raise Unavailable("too many commits wait on this edge", retry_after_ms=retry_ms, limit="commits")
        try:
            ticket = breaker.admit(self._clock(), reachable=self._reachable(), owed=owed)
        except Unavailable as error:
            metrics.commits_refused("stream_full" if error.limit else breaker.state.value).inc()
            self._show(breaker)
            raise
        self._in_flight += 1
        return ticket

    def answered(self, ticket: Ticket) -> None:
        """JetStream has said what became of it."""
        breaker = self._breakers[ticket.stream]
        breaker.answered(ticket, self._clock())
        self._in_flight -= 1
        if breaker.state is not self._shown[ticket.stream]:
            self._show(breaker)

    def gave_up(self, ticket: Ticket) -> None:
        """It has ended without an answer."""
        breaker = self._breakers[ticket.stream]
        breaker.gave_up(ticket, self._clock())
        self._in_flight -= 1
        self._show(breaker)

    @contextlib.contextmanager
    def commit(self, stream: str, *, owed: bool = False) -> Iterator[None]:
        """A commit from its admission to its end. Raises `Unavailable`, and what is raised inside."""
        with self.ending(self.admit(stream, owed=owed)):
            yield

    @contextlib.contextmanager
    def ending(self, ticket: Ticket) -> Iterator[None]:
        """The rest of a commit that was admitted."""
        answered = False
        try:
            yield
            answered = True
        except (OutcomeUnknown, Unavailable):
            raise
        except ParleyError:  # JetStream refused: that is an answer
            answered = True
            raise
        finally:
            if answered:
                self.answered(ticket)
            else:
                self.gave_up(ticket)

    def look(self) -> None:
        """Let time pass, also for streams to which nobody writes."""
        now_s = self._clock()
        for breaker in self._breakers.values():
            breaker.look(now_s)
            self._show(breaker)
        metrics.COMMITS_IN_FLIGHT.set(self._in_flight)

    @property
    def silent(self) -> list[str]:
        """The streams that are known not to answer."""
        now_s = self._clock()
        return [stream for stream, breaker in self._breakers.items() if breaker.is_silent(now_s)]

    def _show(self, breaker: Breaker) -> None:
        state, before = breaker.state, self._shown[breaker.stream]
        if state is before:
            return
        self._shown[breaker.stream] = state
        metrics.STREAM_STATE.labels(breaker.stream).set(_VALUES[state])
        if state is State.OPEN:
            metrics.BREAKERS_OPENED.inc()
            _log.warning("breaker.opened", stream=breaker.stream, in_flight=breaker.in_flight)
        elif state is State.CLOSED:
            _log.info("breaker.closed", stream=breaker.stream)
