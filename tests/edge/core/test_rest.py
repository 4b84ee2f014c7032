"""A feed leaves the loop most of its time."""

from __future__ import annotations

import pytest

from edge.core.rest import FACTOR, REST_MAX_S, Rest


def test_a_fresh_feed_flushes_at_once() -> None:
    """Nobody waits for the first message."""
    assert Rest().left_s(5.0) == 0.0


def test_rest_is_in_proportion_to_the_flush() -> None:
    """After a flush of 5 ms, nothing for twice as long; then at once."""
    rest = Rest()
    rest.flushed(1.0, 1.005)
    assert rest.left_s(1.005) == pytest.approx(FACTOR * 0.005)
    assert rest.left_s(1.010) == pytest.approx(0.005)
    assert rest.left_s(1.016) == 0.0


def test_a_small_channel_never_rests() -> None:
    """What a timer could not measure is no rest."""
    rest = Rest()
    rest.flushed(1.0, 1.0004)
    assert rest.left_s(1.0004) == 0.0


def test_rest_is_bounded() -> None:
    """A flush that took a second (the machine slept) does not silence the channel for two."""
    rest = Rest()
    rest.flushed(1.0, 2.0)
    assert rest.left_s(2.0) == pytest.approx(REST_MAX_S)
