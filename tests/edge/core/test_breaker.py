"""The breaker's states, by example and for every order of admissions, answers and silence."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge.core.breaker import PROBE_S, RETRY_S_MAX, RETRY_S_MIN, Bounds, Breaker, State, Ticket
from shared.errors import Unavailable

BOUNDS = Bounds(slow_s=3.0, in_flight_max=8)


def breaker() -> Breaker:
    """A closed one."""
    return Breaker("LOG_0", BOUNDS)


def opened(at_s: float = 3.1) -> tuple[Breaker, Ticket]:
    """One that has opened because a commit from 0.0 had no answer."""
    one = breaker()
    ticket = one.admit(0.0, reachable=True)
    assert one.look(at_s) is State.OPEN
    return one, ticket


def test_a_short_silence_is_bridged() -> None:
    """A restart of a second or two refuses nobody: all that comes meanwhile is let through."""
    one = breaker()
    tickets = [one.admit(at_s, reachable=False) for at_s in (0.0, 0.5, 1.0, 2.9)]
    for ticket in tickets:
        one.answered(ticket, 3.0)
    assert one.look(100.0) is State.CLOSED


def test_silence_opens_and_refuses_at_once() -> None:
    """Behind `slow_s` without an answer a commit is refused; once in a while one is let through."""
    one, _ = opened()
    with pytest.raises(Unavailable) as refused:
        one.admit(3.1, reachable=True)
    assert refused.value.retry_after_ms is not None
    assert one.in_flight == 1
    one.admit(3.1 + PROBE_S, reachable=True)
    with pytest.raises(Unavailable):
        one.admit(3.2 + PROBE_S, reachable=True)


def test_when_none_is_left_the_next_one_is_the_probe() -> None:
    """Without commits that are still tried nobody would find out: the next one goes, and it alone."""
    one, ticket = opened()
    one.gave_up(ticket, 25.0)
    assert not one.is_silent(25.0)
    one.admit(25.1, reachable=True)
    assert one.is_silent(25.1)
    with pytest.raises(Unavailable):
        one.admit(25.2, reachable=True)


def test_nobody_is_a_probe_without_a_connection() -> None:
    """Who could only wait for the connection is refused; what was sent before goes on."""
    one, _ = opened()
    with pytest.raises(Unavailable):
        one.admit(10.0, reachable=False)
    one.admit(10.0, reachable=False, owed=True)


def test_late_answers_open_as_silence_does() -> None:
    """A log that answers everything, but each after more than `slow_s`, opens the breaker."""
    one = breaker()
    tickets = [one.admit(at_s, reachable=True) for at_s in (0.0, 0.1, 0.2)]
    one.answered(tickets[0], 3.05)
    assert one.look(3.1) is State.OPEN


def test_one_stuck_commit_opens_nothing() -> None:
    """A commit that is never answered (10158) among others that are does not close the log to them."""
    one = breaker()
    one.admit(0.0, reachable=True)
    for number in range(100):
        one.answered(one.admit(number * 0.5, reachable=True), number * 0.5 + 0.001)
    assert one.look(60.0) is State.CLOSED


def test_an_answer_lets_few_in_and_then_more() -> None:
    """Behind the first answer one is let in; each prompt answer makes room for one more."""
    one, ticket = opened()
    one.answered(ticket, 5.0)
    assert one.state is State.HALF_OPEN
    for window in (1, 2, 4):
        trial = [one.admit(5.0, reachable=True) for _ in range(window)]
        with pytest.raises(Unavailable):
            one.admit(5.0, reachable=True)
        for each in trial:
            one.answered(each, 5.01)
    assert one.state is State.CLOSED


def test_it_closes_when_all_get_in() -> None:
    """With little to do the window never fills: after `slow_s` without a refusal it closes all the same."""
    one, ticket = opened()
    one.answered(ticket, 5.0)
    one.answered(one.admit(5.1, reachable=True), 5.1)
    assert one.state is State.HALF_OPEN
    one.answered(one.admit(8.2, reachable=True), 8.2)
    assert one.state is State.CLOSED


def test_a_relapse_opens_again_at_once() -> None:
    """A trial that ends without an answer, or has none in time, opens; the wait goes on growing."""
    one, ticket = opened()
    one.answered(ticket, 5.0)
    one.gave_up(one.admit(7.0, reachable=True), 9.0)
    assert one.state is State.OPEN
    assert one.retry_s(9.0) > RETRY_S_MIN
    one.answered(one.admit(9.0, reachable=True), 9.1)
    one.admit(9.2, reachable=True)
    assert one.look(12.3) is State.OPEN


def test_the_wait_grows_to_a_bound() -> None:
    """Who is refused is told to come back the later, the longer the log has been silent."""
    one, _ = opened()
    waits = [one.retry_s(at_s) for at_s in (3.1, 5.1, 9.1, 60.0)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (RETRY_S_MIN, RETRY_S_MAX)


def test_stale_silence_only_asks_for_a_probe() -> None:
    """Ages after a failed commit the next one is not refused: it finds out how things are."""
    one = breaker()
    one.gave_up(one.admit(0.0, reachable=False), 2.0)
    assert not one.is_silent(600.0)
    one.answered(one.admit(600.0, reachable=True), 600.1)
    assert one.state is State.HALF_OPEN


def test_a_full_stream_refuses() -> None:
    """In flight are never more than allowed, except what is owed; the refusal names the limit."""
    one = breaker()
    for _ in range(BOUNDS.in_flight_max):
        one.admit(0.0, reachable=True)
    with pytest.raises(Unavailable) as refused:
        one.admit(0.0, reachable=True)
    assert refused.value.limit == "commits"
    one.admit(0.0, reachable=True, owed=True)
    assert one.in_flight == BOUNDS.in_flight_max + 1


class Commits(RuleBasedStateMachine):
    """Commits come, are answered or not, in any order and at any time."""

    @initialize()
    def begin(self) -> None:
        """Closed, nothing in flight."""
        self.now_s = 0.0
        self.breaker = breaker()
        self.flying: list[Ticket] = []
        self.prompt_s = 0.0

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.4, 1.0, 2.9, 3.1, 30.0]))
    def pass_time(self, seconds: float) -> None:
        """Nothing happens for a while."""
        self.now_s += seconds
        before = self.breaker.state
        if self.breaker.look(self.now_s) is State.OPEN and before is not State.OPEN:
            assert self.now_s - self.prompt_s > BOUNDS.slow_s

    @rule(reachable=st.booleans(), owed=st.booleans())
    def commit(self, reachable: bool, owed: bool) -> None:
        """Somebody asks; only a closed breaker with room must let it through, and what is owed."""
        state = self.breaker.look(self.now_s)
        room = self.breaker.in_flight < BOUNDS.in_flight_max
        try:
            self.flying.append(self.breaker.admit(self.now_s, reachable=reachable, owed=owed))
        except Unavailable as error:
            assert not owed
            assert state is not State.CLOSED or not room
            assert RETRY_S_MIN * 1000 <= (error.retry_after_ms or 0) <= RETRY_S_MAX * 1000
        else:
            assert owed or room
            assert owed or reachable or state is not State.OPEN

    @rule(which=st.integers(0, 100), answer=st.booleans())
    def end(self, which: int, answer: bool) -> None:
        """One of those in flight ends."""
        if not self.flying:
            return
        ticket = self.flying.pop(which % len(self.flying))
        if answer:
            self.breaker.answered(ticket, self.now_s)
            assert self.breaker.state is not State.OPEN
            if self.now_s - ticket.started_s <= BOUNDS.slow_s:
                self.prompt_s = self.now_s
        else:
            self.breaker.gave_up(ticket, self.now_s)

    @invariant()
    def counts_what_flies(self) -> None:
        """No commit is forgotten, none counted twice."""
        assert self.breaker.in_flight == len(self.flying)

    def teardown(self) -> None:
        """Whatever happened: when the log answers again, everybody is let in again, and soon."""
        for ticket in self.flying:
            self.breaker.gave_up(ticket, self.now_s)
        self.now_s += RETRY_S_MAX
        for _ in range(BOUNDS.in_flight_max + 1):
            ticket = self.breaker.admit(self.now_s, reachable=True)
            self.breaker.answered(ticket, self.now_s + 0.001)
        assert self.breaker.look(self.now_s) is State.CLOSED


TestCommits = Commits.TestCase
