"""A session's order survives a refusal that says "later" (P13)."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.order import HOLD_S, HOLDS_MAX, RETRY_MS_MIN, Order
from shared.errors import Forbidden, Unavailable
from shared.ids import ChannelId, CommandId

C, D = ChannelId("c"), ChannelId("d")
ONE, TWO = CommandId("1"), CommandId("2")
LATER = Unavailable("not now", retry_after_ms=500)


def test_later_command_waits_for_the_postponed_one() -> None:
    """After a "later", what was sent behind is refused the same way until that command comes again."""
    order = Order()
    order.refused(C, ONE, LATER, 10.0)
    with pytest.raises(Unavailable) as refused:
        order.check(C, TWO, 10.25)
    assert refused.value.retryable
    assert (refused.value.limit, refused.value.retry_after_ms) == ("order", 250)
    order.check(C, ONE, 10.6)
    order.check(C, TWO, 10.7)
    assert len(order) == 0


def test_other_channels_go_on() -> None:
    """Order is kept within a channel only."""
    order = Order()
    order.refused(C, ONE, LATER, 10.0)
    order.check(D, TWO, 10.0)


def test_final_refusal_holds_nothing() -> None:
    """A command that was refused for good does not come again, so nothing waits for it."""
    order = Order()
    order.refused(C, ONE, Forbidden("no"), 10.0)
    order.check(C, TWO, 10.0)


def test_client_that_gives_up_is_held_for_a_short_time() -> None:
    """The hold ends by itself a little after the time at which the command should have come."""
    order = Order()
    order.refused(C, ONE, LATER, 10.0)
    with pytest.raises(Unavailable) as refused:
        order.check(C, TWO, 10.0 + 0.5 + HOLD_S - 0.01)
    assert refused.value.retry_after_ms == RETRY_MS_MIN
    order.check(C, TWO, 10.0 + 0.5 + HOLD_S)
    assert len(order) == 0


def test_refusals_behind_a_hold_do_not_move_it() -> None:
    """The commands that wait are refused as well; the first one remains the one to come first."""
    order = Order()
    order.refused(C, ONE, LATER, 10.0)
    order.refused(C, TWO, LATER, 10.2)
    with pytest.raises(Unavailable):
        order.check(C, TWO, 10.7)
    order.check(C, ONE, 10.8)


def test_what_is_held_is_bounded() -> None:
    """A client that names ever new channels costs no memory; what is over makes room."""
    order = Order()
    for number in range(HOLDS_MAX + 50):
        order.refused(ChannelId(f"c{number}"), ONE, LATER, 0.0)
    assert len(order) == HOLDS_MAX
    order.refused(C, ONE, LATER, 0.5 + HOLD_S)
    assert len(order) == 1


@given(st.lists(st.integers(0, 4), max_size=60))
def test_pipelined_commands_are_recorded_in_order(faults: list[int]) -> None:
    """Whenever the log is away, a client that repeats what was postponed gets its order."""
    order, recorded = Order(), list[int]()
    pending = deque(range(12))
    troubles = deque(faults)
    now_s = 0.0
    while pending:
        postponed = deque[int]()
        for number in pending:
            now_s += 0.01
            command = CommandId(str(number))
            try:
                order.check(C, command, now_s)
                if troubles and troubles.popleft() == 0:
                    raise LATER
            except Unavailable as error:
                order.refused(C, command, error, now_s)
                postponed.append(number)
            else:
                recorded.append(number)
        pending = postponed
    assert recorded == list(range(12))
