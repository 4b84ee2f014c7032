"""The life of a session: every verdict at its moment, no wrong transition (P5, P8, P9)."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.core import wire_errors
from edge.core.session import SILENCE_INTERVALS, Session, State, Timing, WrongTransition
from edge.core.wire_errors import CloseCode

TIMING = Timing(heartbeat_s=10, stall_limit_s=30, hello_deadline_s=8, token_grace_s=5)
PATIENT = replace(TIMING, token_grace_s=25)
"""Nothing but heartbeats is due more often than they are."""

Said = tuple[float, CloseCode | None, bool]
"""A moment, the verdict, and whether a ping was due."""

SILENT_S = SILENCE_INTERVALS * TIMING.heartbeat_s


def opened(now_s: float = 0.0, expires_s: float | None = None) -> Session:
    """A session whose hello was good."""
    session = Session(now_s, TIMING)
    session.opened(now_s, expires_s)
    return session


def fields(session: Session) -> dict[str, object]:
    """Everything that a session knows."""
    return {name: getattr(session, name) for name in Session.__slots__}


def test_hello_has_a_deadline() -> None:
    """Who says no hello in time is closed, whatever else arrives (P5)."""
    session = Session(100.0, TIMING)
    session.heard(107.0)
    assert session.verdict(107.9) is None
    assert session.verdict(108.0) is wire_errors.HELLO_TIMEOUT


def test_a_hello_that_waits_for_its_turn_was_in_time() -> None:
    """How long we take for it is our own affair."""
    session = Session(100.0, TIMING)
    session.greeted()
    assert session.verdict(1000.0) is None
    assert session.due_s(1000.0) > 1000.0


def test_silence_is_death() -> None:
    """One and a half silent intervals end the session; any frame counts as life (P8)."""
    session = opened()
    assert session.verdict(SILENT_S - 0.01) is None
    assert session.verdict(SILENT_S) is wire_errors.HEARTBEAT_TIMEOUT
    session.heard(9.0)
    assert session.verdict(9.0 + SILENT_S - 0.01) is None
    assert session.verdict(9.0 + SILENT_S) is wire_errors.HEARTBEAT_TIMEOUT


def test_silence_of_the_servers_own_making_proves_nothing() -> None:
    """While the server does not read, the client cannot be heard; the clock starts when it reads again."""
    session = opened()
    session.held(10.0, held=True)
    assert session.verdict(1000.0) is None
    session.held(1000.0, held=False)
    assert session.verdict(1000.0 + SILENT_S - 0.01) is None
    assert session.verdict(1000.0 + SILENT_S) is wire_errors.HEARTBEAT_TIMEOUT


def test_token_ends_after_its_grace() -> None:
    """The session outlives its token by the grace, and `refresh` moves the end (P9, AT-60)."""
    session = opened(expires_s=3.0)
    assert session.verdict(7.9) is None
    assert session.verdict(8.0) is wire_errors.TOKEN_EXPIRED
    session.refreshed(6.0)
    assert session.verdict(8.0) is None
    assert session.verdict(11.0) is wire_errors.TOKEN_EXPIRED
    session.refreshed(None)
    assert session.verdict(11.0) is None


def test_stalled_socket_has_a_limit() -> None:
    """Who takes no bytes for too long is closed as lagging; a drained socket starts anew (AT-66)."""
    session = opened()

    def verdict(now_s: float) -> object:
        session.heard(now_s)
        return session.verdict(now_s)

    session.stalled(1.0)
    session.stalled(20.0)
    assert verdict(30.9) is None
    assert verdict(31.0) is wire_errors.LAGGING
    session.flowing()
    assert verdict(31.0) is None
    session.stalled(40.0)
    assert verdict(69.9) is None
    assert verdict(70.0) is wire_errors.LAGGING


def test_what_needs_a_change_is_said_first() -> None:
    """Of several reasons the one that a reconnect would not cure is named."""
    session = opened(expires_s=0.0)
    session.stalled(0.0)
    assert session.verdict(1000.0) is wire_errors.TOKEN_EXPIRED
    session.refreshed(None)
    assert session.verdict(1000.0) is wire_errors.LAGGING


def test_pings_are_due_once_per_interval() -> None:
    """True counts as sent; before the hello and after the close nothing is due (P8)."""
    new = Session(0.0, TIMING)
    assert not new.ping_due(1000.0)
    session = opened()
    assert not session.ping_due(9.9)
    assert session.ping_due(10.0)
    assert not session.ping_due(19.9)
    assert session.ping_due(20.0)
    session.closing()
    assert not session.ping_due(1000.0)


def test_closing_is_quiet_and_repeatable() -> None:
    """Once a close has begun there is no other verdict, from whichever state it began."""
    for session in (Session(0.0, TIMING), opened(expires_s=0.0)):
        session.closing()
        session.closing()
        assert session.state is State.CLOSING
        assert session.verdict(10_000.0) is None


@pytest.mark.parametrize("state", State)
def test_wrong_transitions_raise_and_change_nothing(state: State) -> None:
    """A session opens once and is refreshed only while it is open."""
    session = Session(0.0, TIMING) if state is State.NEW else opened(expires_s=50.0)
    if state is State.CLOSING:
        session.closing()
    before = fields(session)
    if state is not State.NEW:
        with pytest.raises(WrongTransition):
            session.opened(1.0, None)
    if state is not State.OPEN:
        with pytest.raises(WrongTransition):
            session.refreshed(None)
    assert fields(session) == before


@pytest.mark.parametrize("heartbeat_s", [0, -1, 25.1])
def test_heartbeat_keeps_the_promise(heartbeat_s: float) -> None:
    """No configuration pings more seldom than the protocol says (P8)."""
    with pytest.raises(AssertionError):
        replace(TIMING, heartbeat_s=heartbeat_s)


@given(st.lists(st.tuples(st.sampled_from(["heard", "ping", "look"]), st.floats(0.01, 12)), max_size=60))
def test_lively_client_is_never_closed(steps: list[tuple[str, float]]) -> None:
    """A client that is heard within every interval and a half lives, and is pinged often enough."""
    session = opened()
    now_s = heard_s = pinged_s = 0.0
    for what, gap_s in steps:
        now_s += gap_s
        if now_s - heard_s >= SILENT_S:
            assert session.verdict(now_s) is wire_errors.HEARTBEAT_TIMEOUT
            return
        assert session.verdict(now_s) is None
        if what == "heard":
            session.heard(now_s)
            heard_s = now_s
        elif what == "ping":
            due = session.ping_due(now_s)
            assert due == (now_s - pinged_s >= TIMING.heartbeat_s)
            pinged_s = now_s if due else pinged_s


@given(
    st.sampled_from([TIMING, PATIENT]),
    st.lists(
        st.tuples(
            st.sampled_from(["wait", "open", "heard", "held", "free", "stalled", "flowing", "refreshed"]),
            st.integers(0, 24),
        ),
        max_size=60,
    ),
)
@example(PATIENT, [("open", 12), ("heard", 0)])
def test_nothing_is_due_before_it_is_said_to_be(timing: Timing, events: list[tuple[str, int]]) -> None:
    """Whoever asks only when something may be due pings and closes as one who asks all the time.

    Who was pinged is asked again, once it has had time to answer, only if it owes an answer.
    """
    always, seldom = Session(0.0, timing), Session(0.0, timing)
    due_s, now_s, answer_due_s = seldom.due_s(0.0), 0.0, math.inf
    said: tuple[list[Said], list[Said]] = ([], [])
    for what, steps in [*events, ("wait", 200)]:
        for session in (always, seldom):
            _happens(session, what, now_s)
        for _ in range(steps):
            now_s += 0.5
            said[0].append((now_s, always.verdict(now_s), always.ping_due(now_s)))
            is_owed = now_s >= answer_due_s and seldom.owes_answer
            if now_s >= answer_due_s:
                answer_due_s = math.inf
            if now_s >= due_s or is_owed:
                said[1].append((now_s, seldom.verdict(now_s), seldom.ping_due(now_s)))
                due_s, answer_due_s = seldom.due_s(now_s), now_s + timing.answer_s
                assert due_s > now_s or said[1][-1][1] is not None
            if said[0][-1][1] is not None:
                assert said[1]
                assert said[1][-1] == said[0][-1]
                return
    assert [it for it in said[0] if it[2]] == [it for it in said[1] if it[2]]


def test_one_who_answers_is_looked_at_once_a_ping() -> None:
    """Between two pings nothing is due to one who answers; a silence is over as soon as it ever was (P8)."""
    session = Session(0.0, PATIENT)
    session.opened(0.0, None)
    for now_s in (10.0, 20.0, 30.0):
        assert session.ping_due(now_s)
        assert session.owes_answer
        assert session.due_s(now_s) == now_s + PATIENT.heartbeat_s
        session.heard(now_s + 1.0)
        assert not session.owes_answer
    assert session.ping_due(40.0)
    asked_again_s = 40.0 + PATIENT.answer_s
    assert session.owes_answer
    assert session.due_s(asked_again_s) == 31.0 + SILENT_S
    session.held(asked_again_s, held=True)
    assert not session.owes_answer


def _happens(session: Session, what: str, now_s: float) -> None:
    match what:
        case "open" if session.state is State.NEW:
            session.opened(now_s, now_s + 7)
        case "refreshed" if session.state is State.OPEN:
            session.refreshed(now_s + 1)
        case "heard":
            session.heard(now_s)
        case "held" | "free":
            session.held(now_s, held=what == "held")
        case "stalled":
            session.stalled(now_s)
        case "flowing":
            session.flowing()
