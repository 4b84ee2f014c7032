"""A crowd is let in at the edge's pace, and comes back one behind the other (AT-64)."""

from __future__ import annotations

import pytest

from edge.core.admission import BEHIND_MAX_S, PROMISE_MAX_S, Admission
from edge.core.limits import Rate
from shared.errors import Unavailable


def knock(admission: Admission, now_s: float) -> float:
    """Seconds to wait; 0.0 is entry."""
    try:
        admission.enter(now_s)
    except Unavailable as error:
        assert error.limit == "sessions"
        assert error.retry_after_ms is not None
        return error.retry_after_ms / 1000
    return 0.0


def test_the_burst_then_the_pace() -> None:
    """As many as the bucket holds at once, then one for each token."""
    admission = Admission(Rate(10, 3), 100.0)
    assert [knock(admission, 100.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert knock(admission, 100.0) == pytest.approx(0.1)
    assert knock(admission, 101.0) == 0.0


def test_who_is_behind_takes_nobody() -> None:
    """However full the bucket is; and the refused come back one behind the other, no sooner than that."""
    admission = Admission(Rate(10, 100), 100.0)
    told = []
    for _ in range(3):
        with pytest.raises(Unavailable, match="hellos wait") as refused:
            admission.enter(100.0, BEHIND_MAX_S + 1.0)
        told.append(refused.value.retry_after_ms)
    first_ms = 1000 * (BEHIND_MAX_S + 1.0)
    assert told == [first_ms, first_ms + 100, first_ms + 200]
    admission.enter(100.0, BEHIND_MAX_S)


def test_nobody_is_told_the_same_moment() -> None:
    """The refused come back at the pace at which there is room, not all at once."""
    admission = Admission(Rate(10, 1), 100.0)
    assert [knock(admission, 100.0) for _ in range(4)] == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_a_promise_is_bounded() -> None:
    """However many come, nobody is sent away for longer than the bound."""
    admission = Admission(Rate(1, 1), 100.0)
    assert max(knock(admission, 100.0) for _ in range(100)) == PROMISE_MAX_S


def test_promises_are_forgotten_with_time() -> None:
    """After a quiet time the next refusal is short again."""
    admission = Admission(Rate(10, 1), 100.0)
    for _ in range(50):
        knock(admission, 100.0)
    assert knock(admission, 200.0) == 0.0
    assert knock(admission, 200.0) == pytest.approx(0.1)


def test_a_crowd_is_in_as_soon_as_the_pace_allows() -> None:
    """Five thousand who come back when they are told are in within burst and pace, in two tries each."""
    admission = Admission(Rate(500, 1000), 0.0)
    due = [0.0] * 5000
    entered_s = 0.0
    tries = 0
    while due:
        due.sort()
        now_s = due.pop(0)
        tries += 1
        wait_s = knock(admission, now_s)
        if wait_s:
            due.append(now_s + wait_s)
        else:
            entered_s = now_s
    assert entered_s <= 4000 / 500 + 1.0
    assert tries <= 2 * 5000
