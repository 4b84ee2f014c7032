"""The life of a session: every verdict at its time, and no transition out of order."""

from __future__ import annotations

import pytest

from edge.core import wire_errors
from edge.core.session import Session, State, Timing, WrongTransition

TIMING = Timing(heartbeat_s=20, stall_limit_s=30, hello_deadline_s=10, token_grace_s=25)


def opened(expires_s: float | None = None) -> Session:
    """A session that said hello at 0."""
    session = Session(0, TIMING)
    session.opened(0, expires_s)
    return session


def test_hello_deadline() -> None:
    """Ten seconds without a hello end it (P5)."""
    session = Session(0, TIMING)
    assert session.verdict(9.9) is None
    assert session.verdict(10) is wire_errors.HELLO_TIMEOUT


def test_silence_and_life() -> None:
    """One and a half intervals of silence end it; anything heard, or our own deafness, resets that (P8)."""
    session = opened()
    assert session.verdict(29.9) is None
    assert session.verdict(30) is wire_errors.HEARTBEAT_TIMEOUT
    session.heard(29)
    assert session.verdict(58.9) is None
    session.held(59, held=True)
    assert session.verdict(500) is None
    session.held(500, held=False)
    assert session.verdict(530) is wire_errors.HEARTBEAT_TIMEOUT


def test_ping_once_per_interval() -> None:
    """A heartbeat is due once per interval, and only while the session is open."""
    session = opened()
    assert [session.ping_due(now) for now in (19, 20, 21, 39, 40)] == [False, True, False, False, True]
    session.closing()
    assert not session.ping_due(100)


def test_token_ends_it_after_the_grace_and_refresh_moves_that() -> None:
    """`exp` plus 25 s is the end, unless a newer token came (P9)."""
    session = opened(expires_s=100)
    session.heard(124)
    assert session.verdict(124.9) is None
    assert session.verdict(125) is wire_errors.TOKEN_EXPIRED
    session.refreshed(300)
    assert session.verdict(125) is None


def test_stalled_reader() -> None:
    """A socket that takes nothing for the limit ends it resumably; draining in time does not (AT-66)."""
    session = opened()
    session.stalled(0)
    session.stalled(20)
    session.heard(29)
    assert session.verdict(30) is wire_errors.LAGGING
    session.flowing()
    assert session.verdict(30) is None


def test_wrong_transitions_change_nothing() -> None:
    """A second hello, or a refresh before the first, raises and leaves the state alone."""
    session = Session(0, TIMING)
    with pytest.raises(WrongTransition):
        session.refreshed(5)
    assert session.state is State.NEW
    session.opened(1, None)
    with pytest.raises(WrongTransition):
        session.opened(2, None)
    assert session.state is State.OPEN
    session.closing()
    session.closing()
    assert session.verdict(1e9) is None
