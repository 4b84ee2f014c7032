"""A session's order survives a refusal that says "later" (P13)."""

from __future__ import annotations

import pytest

from edge.core.order import HOLD_S, HOLDS_MAX, RETRY_MS_MIN, Order
from shared.errors import Forbidden, RateLimited, Unavailable
from shared.ids import ChannelId, CommandId

C, OTHER = ChannelId("c"), ChannelId("other")
A, B = CommandId("a"), CommandId("b")
LATER = RateLimited("slow down", retry_after_ms=500)


def test_nobody_waits_without_a_refusal() -> None:
    """Commands pass as long as all went well, and after a refusal for good."""
    order = Order()
    order.check(C, A, 0.0)
    order.refused(C, A, Forbidden("no"), 0.0)
    order.check(C, B, 0.0)
    assert len(order) == 0


def test_what_was_sent_behind_a_postponed_command_is_postponed() -> None:
    """Only the postponed command opens the channel again; other channels are free."""
    order = Order()
    order.refused(C, A, LATER, 10.0)
    with pytest.raises(Unavailable) as refused:
        order.check(C, B, 10.0)
    assert refused.value.limit == "order"
    assert refused.value.retry_after_ms == 500
    order.check(OTHER, B, 10.0)
    order.check(C, A, 10.6)
    order.check(C, B, 10.6)


def test_the_first_postponed_command_leads() -> None:
    """Refusals behind it do not take its place."""
    order = Order()
    order.refused(C, A, LATER, 0.0)
    order.refused(C, B, LATER, 0.0)
    with pytest.raises(Unavailable):
        order.check(C, B, 0.1)
    order.check(C, A, 0.1)


def test_a_command_that_was_given_up_is_not_waited_for() -> None:
    """After its time and the hold the channel is open, exactly then, and nothing is kept."""
    order = Order()
    order.refused(C, A, LATER, 0.0)
    with pytest.raises(Unavailable) as refused:
        order.check(C, B, 0.5 + HOLD_S - 0.01)
    assert refused.value.retry_after_ms == RETRY_MS_MIN
    order.check(C, B, 0.5 + HOLD_S)
    assert len(order) == 0


def test_what_is_held_is_bounded() -> None:
    """A client that names ever new channels costs no memory; what is over makes room."""
    order = Order()
    for n in range(HOLDS_MAX + 50):
        order.refused(ChannelId(f"c{n}"), A, LATER, 0.0)
    assert len(order) == HOLDS_MAX
    order.refused(C, A, LATER, 0.5 + HOLD_S)
    assert len(order) == 1
