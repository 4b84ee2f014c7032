"""The session's state machine: deadlines, heartbeats, tokens, stalls (P5, P8, P9)."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.core import wire_errors
from edge.core.session import SILENCE_INTERVALS, Session, State, Timing, WrongTransition

TIMING = Timing(heartbeat_s=20.0, stall_limit_s=30.0, hello_deadline_s=10.0, token_grace_s=25.0)


def test_hello_deadline() -> None:
    """Ten seconds without a hello end it, not nine."""
    session = Session(100.0, TIMING)
    assert session.verdict(109.9) is None
    assert session.verdict(110.0) is wire_errors.HELLO_TIMEOUT


def test_ping_once_per_interval() -> None:
    """A ping is due once per interval and only in an open session."""
    session = Session(0.0, TIMING)
    assert not session.ping_due(50.0)
    session.opened(1.0, None)
    assert [session.ping_due(at_s) for at_s in (20.9, 21.0, 21.1, 40.9, 41.0)] == [
        False,
        True,
        False,
        False,
        True,
    ]


def test_silence() -> None:
    """One and a half silent intervals are death, a frame in between is life."""
    session = Session(0.0, TIMING)
    session.opened(0.0, None)
    session.heard(10.0)
    assert session.verdict(39.9) is None
    assert session.verdict(40.0) is wire_errors.HEARTBEAT_TIMEOUT


def test_silence_while_the_server_does_not_read() -> None:
    """A client is not blamed for frames that the server left in the socket."""
    session = Session(0.0, TIMING)
    session.opened(0.0, None)
    session.held(5.0, held=True)
    assert session.verdict(500.0) is None
    session.held(500.0, held=False)
    assert session.verdict(529.0) is None
    assert session.verdict(530.0) is wire_errors.HEARTBEAT_TIMEOUT


def test_token_end_grace_and_refresh() -> None:
    """The session ends at the token's end plus grace; a newer token moves that (AT-60)."""
    session = Session(0.0, TIMING)
    session.opened(0.0, 10.0)
    session.heard(34.0)
    assert session.verdict(34.9) is None
    assert session.verdict(35.0) is wire_errors.TOKEN_EXPIRED
    session.refreshed(50.0)
    session.heard(74.0)
    assert session.verdict(74.9) is None
    assert session.verdict(75.0) is wire_errors.TOKEN_EXPIRED


def test_stall() -> None:
    """A socket that takes nothing for the limit ends the session resumably; any drain starts anew (AT-66)."""
    session = Session(0.0, TIMING)
    session.opened(0.0, None)
    for at_s in range(0, 60, 5):
        session.heard(float(at_s))
    session.stalled(10.0)
    session.stalled(30.0)
    assert session.verdict(39.9) is None
    assert session.verdict(40.0) is wire_errors.LAGGING
    session.flowing()
    session.heard(60.0)
    assert session.verdict(60.0) is None


def test_closing_is_final() -> None:
    """Once a close has begun nothing more is due, from whichever state it began."""
    for opened in (False, True):
        session = Session(0.0, TIMING)
        if opened:
            session.opened(0.0, 1.0)
        session.closing()
        session.closing()
        assert session.verdict(1e9) is None
        assert not session.ping_due(1e9)


@pytest.mark.parametrize("step", ["opened", "refreshed"])
def test_wrong_transitions_change_nothing(step: str) -> None:
    """A second hello or a refresh before the first raises, and the state stays."""
    session = Session(0.0, TIMING)
    if step == "opened":
        session.opened(0.0, None)
        with pytest.raises(WrongTransition):
            session.opened(1.0, None)
        assert session.state is State.OPEN
    else:
        with pytest.raises(WrongTransition):
            session.refreshed(5.0)
        assert session.state is State.NEW


def test_heartbeat_is_bounded() -> None:
    """No server can be configured to ping less often than P8 says."""
    with pytest.raises(AssertionError):
        Timing(heartbeat_s=25.1)


class Lives(RuleBasedStateMachine):
    """Any history of a session, with a clock that only moves forward."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.heard_s = 0.0
        self.session = Session(0.0, TIMING)

    @rule(seconds=st.floats(0, 50))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @precondition(lambda self: self.session.state is State.NEW)
    @rule(left_s=st.none() | st.floats(0, 100))
    def open(self, left_s: float | None) -> None:
        self.session.opened(self.now_s, None if left_s is None else self.now_s + left_s)
        self.heard_s = self.now_s

    @rule()
    def hear(self) -> None:
        self.session.heard(self.now_s)
        self.heard_s = self.now_s

    @rule()
    def close(self) -> None:
        self.session.closing()

    @invariant()
    def the_verdict_has_a_reason(self) -> None:
        verdict = self.session.verdict(self.now_s)
        if self.session.state is State.CLOSING:
            assert verdict is None
        elif self.session.state is State.NEW:
            assert verdict in {None, wire_errors.HELLO_TIMEOUT}
        elif self.now_s - self.heard_s >= SILENCE_INTERVALS * TIMING.heartbeat_s:
            assert verdict in {wire_errors.HEARTBEAT_TIMEOUT, wire_errors.TOKEN_EXPIRED}


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
