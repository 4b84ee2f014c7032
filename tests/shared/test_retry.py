"""Retry: delays grow to a cap, are spread in full, and end at the deadline that was passed down."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.retry import Deadline, delays


def some(first_s: float, cap_s: float, seed: int, count: int = 50) -> list[float]:
    """The first delays of a schedule with a fixed seed."""
    return list(itertools.islice(delays(first_s=first_s, cap_s=cap_s, rng=random.Random(seed)), count))


@given(st.floats(0.001, 1), st.floats(1, 60), st.integers())
def test_no_delay_exceeds_its_ceiling(first_s: float, cap_s: float, seed: int) -> None:
    """The n-th delay lies between 0 and min(cap, first · 2ⁿ), for ever."""
    for attempt, delay_s in enumerate(some(first_s, cap_s, seed)):
        assert 0 <= delay_s <= min(cap_s, first_s * 2**attempt)


def test_a_schedule_is_replayable() -> None:
    """The same source of randomness gives the same delays."""
    assert some(0.1, 5, seed=1) == some(0.1, 5, seed=1) != some(0.1, 5, seed=2)


def test_those_who_failed_together_come_back_apart() -> None:
    """Jitter is full: a thousand first delays fill the whole range evenly (AT-64)."""
    first = sorted(some(1.0, 1.0, seed, count=1)[0] for seed in range(1000))
    assert all(abs(delay_s - rank / 1000) < 0.08 for rank, delay_s in enumerate(first))


def test_without_a_source_delays_are_random() -> None:
    """The default is the process's own randomness: two schedules differ."""
    one, other = (list(itertools.islice(delays(first_s=1, cap_s=8), 8)) for _ in range(2))
    assert one != other


def test_a_deadline_counts_down_and_never_below_zero() -> None:
    """What is left is never negative, and `passed` says when it is over."""
    assert 99 < Deadline.after(100).left_s <= 100
    assert not Deadline.after(100).passed
    over = Deadline.after(-1)
    assert over.left_s == 0
    assert over.passed


def test_a_deadline_is_a_value() -> None:
    """It is passed down as it is: nobody below can extend it."""
    with pytest.raises(AttributeError):
        Deadline.after(1).at_s = 0  # type: ignore[misc]
