"""Freshness: whatever clocks say, no try of a fresh command falls outside the window of its first store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.freshness import Freshness
from edge.publisher import FRESHNESS
from shared.bus import COMMIT_DEADLINE_S
from shared.errors import ClockSkew
from shared.ids import new_command_id
from shared.streams import DUPLICATE_WINDOW_S

NOW_MS = 1_795_000_000_000
ADHERED = Freshness(window_s=120.0, tries_s=25.0, stray_s=15.0)
offsets_ms = st.integers(-200_000, 200_000)


def is_fresh(rule: Freshness, id_ms: int, now_ms: int) -> bool:
    """Whether a command with an id of this time may begin now as a fresh one."""
    command = new_command_id(id_ms)
    try:
        rule.check(command, now_ms * 1000)
    except ClockSkew:
        return False
    return not rule.is_late(command, now_ms * 1000)


@given(id_ms=offsets_ms, later_ms=st.integers(0, 400_000))
def test_every_try_is_inside_the_window(id_ms: int, later_ms: int) -> None:
    """Stored first at any time at which the id was fresh, begun again at any later one at which it is."""
    if is_fresh(ADHERED, NOW_MS + id_ms, NOW_MS) and is_fresh(ADHERED, NOW_MS + id_ms, NOW_MS + later_ms):
        assert later_ms / 1000 + ADHERED.tries_s + ADHERED.stray_s <= ADHERED.window_s


def test_the_limit_is_the_same_both_ways() -> None:
    """A clock may be behind as far as ahead; one millisecond more is too far."""
    limit_ms = ADHERED.limit_ms
    assert limit_ms == 40_000
    assert is_fresh(ADHERED, NOW_MS + limit_ms, NOW_MS)
    assert is_fresh(ADHERED, NOW_MS - limit_ms, NOW_MS)
    assert ADHERED.is_late(new_command_id(NOW_MS - limit_ms - 1), NOW_MS * 1000)
    with pytest.raises(ClockSkew):
        ADHERED.check(new_command_id(NOW_MS + limit_ms + 1), NOW_MS * 1000)


def test_the_edge_keeps_the_rule_for_its_own_window() -> None:
    """Its tries and its streams are what the rule was made for."""
    assert (FRESHNESS.window_s, FRESHNESS.tries_s) == (DUPLICATE_WINDOW_S, COMMIT_DEADLINE_S)
    assert FRESHNESS.limit_ms > 30_000
