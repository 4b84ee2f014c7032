"""All streams of an edge: each refuses for itself, together they are bounded, and every end is told."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from prometheus_client import REGISTRY

from edge.breakers import Breakers
from edge.core.breaker import Bounds, Ticket
from shared.bus import BusError
from shared.errors import OutcomeUnknown, ParleyError, Unavailable, WrongLastSequence

ONE, OTHER = "LOG_0", "LOG_1"


@dataclass
class Clock:
    """Time that a test moves."""

    now_s: float = 0.0
    connected: bool = True
    breakers: Breakers = field(init=False)

    def __post_init__(self) -> None:
        self.breakers = Breakers(
            [ONE, OTHER],
            Bounds(slow_s=3.0, in_flight_max=3),
            in_flight_max=5,
            reachable=lambda: self.connected,
            clock=lambda: self.now_s,
        )

    def silence(self, stream: str) -> Ticket:
        """A commit to the stream that has no answer for long enough."""
        ticket = self.breakers.admit(stream)
        self.now_s += 3.1
        self.breakers.look()
        return ticket


@pytest.fixture
def clock() -> Clock:
    """Breakers at the beginning of time."""
    return Clock()


def state(stream: str) -> float | None:
    """What the metric says."""
    return REGISTRY.get_sample_value("parley_edge_stream_state", {"stream": stream})


def refused(reason: str) -> float:
    """How many were refused for this reason."""
    return REGISTRY.get_sample_value("parley_edge_commits_refused_total", {"reason": reason}) or 0.0


def test_one_silent_stream_refuses_for_itself(clock: Clock) -> None:
    """The others go on, and the metric says which it is."""
    ticket, before = clock.silence(ONE), refused("open")
    with pytest.raises(Unavailable):
        clock.breakers.admit(ONE)
    clock.breakers.answered(clock.breakers.admit(OTHER))
    assert clock.breakers.silent == [ONE]
    assert (state(ONE), state(OTHER), refused("open") - before) == (2.0, 0.0, 1.0)
    clock.breakers.answered(ticket)
    assert (clock.breakers.silent, state(ONE)) == ([], 1.0)


def test_all_streams_together_are_bounded(clock: Clock) -> None:
    """A few slow streams cannot fill the edge's memory; a command that was sent before is never refused."""
    before = refused("edge_full"), refused("stream_full")
    tickets = [clock.breakers.admit(ONE) for _ in range(3)]
    with pytest.raises(Unavailable) as full:
        clock.breakers.admit(ONE)
    assert full.value.limit == "commits"
    tickets += [clock.breakers.admit(OTHER) for _ in range(2)]
    with pytest.raises(Unavailable) as full:
        clock.breakers.admit(OTHER)
    assert (full.value.limit, full.value.retry_after_ms) == ("commits", 500)
    assert (refused("edge_full"), refused("stream_full")) == (before[0] + 1, before[1] + 1)
    clock.breakers.look()
    assert REGISTRY.get_sample_value("parley_edge_commits_in_flight") == 5
    with clock.breakers.commit(OTHER, owed=True):
        pass
    for ticket in tickets:
        clock.breakers.answered(ticket)
    clock.breakers.look()
    assert REGISTRY.get_sample_value("parley_edge_commits_in_flight") == 0


@pytest.mark.parametrize(
    ("error", "answered"),
    [
        (OutcomeUnknown("no answer"), False),
        (Unavailable("no connection"), False),
        (WrongLastSequence("another one was first"), True),
        (BusError("too large", 10054), True),
    ],
)
def test_a_refusal_by_jetstream_is_an_answer(clock: Clock, error: ParleyError, answered: bool) -> None:
    """Whoever is refused by JetStream knows that it is there; silence and a lost connection say nothing."""
    ticket = clock.silence(ONE)
    with pytest.raises(type(error)), clock.breakers.ending(ticket):
        raise error
    assert state(ONE) == (1.0 if answered else 2.0)


def test_without_a_connection_nobody_is_sent(clock: Clock) -> None:
    """Behind an open breaker even the probe waits for the connection."""
    clock.breakers.gave_up(clock.silence(ONE))
    clock.connected = False
    with pytest.raises(Unavailable):
        clock.breakers.admit(ONE)
    clock.connected = True
    clock.breakers.admit(ONE)
