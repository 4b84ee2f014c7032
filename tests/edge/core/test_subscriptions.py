"""Subscriptions against a model: a client gets consecutive events, each once per question."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core import answers
from edge.core.subscriptions import Mode, Replay, Subscription
from shared.ids import ChannelId, Seq


@dataclass(frozen=True)
class Item:
    """An event of which only the number matters."""

    seq: Seq


def items(low: int, high: int) -> list[Item]:
    """Events low to high."""
    return [Item(Seq(seq)) for seq in range(low, high + 1)]


STEPS = st.lists(
    st.tuples(st.sampled_from(["live", "stalled", "feed", "ask", "remove"]), st.integers(1, 6)), max_size=60
)


@given(STEPS)
def test_consecutive_whatever_happens(steps: list[tuple[str, int]]) -> None:
    """Live events, full sockets, replays and removal in any order: no hole, no repetition, nothing after."""
    sub, head, sent = Subscription(Seq(0)), 0, 0
    for what, amount in steps:
        if what in {"live", "stalled"}:
            news = items(head + 1, head + amount)
            head += amount
            written = sub.offer(news, writable=what == "live")
        elif what == "feed" and sub.mode is not Mode.LIVE:
            written = sub.fed(items(sub.cursor + 1, min(head, sub.cursor + amount)))
            if sub.cursor == head:
                sub.caught_up(Seq(head))
        elif what == "ask":
            sent = max(0, head - amount)
            if sub.last is None or sent < sub.last:
                sub.asked(Seq(sent))
            else:
                sent = sub.cursor
            continue
        elif what == "remove":
            sub.ended(Seq(head))
            continue
        else:
            continue
        for item in written:
            assert item.seq == sent + 1
            sent = item.seq
        assert sub.last is None or sent <= sub.last
    assert sub.cursor == sent


def test_fed_refuses_a_hole() -> None:
    """Pages that leave something out change nothing."""
    sub = Subscription(Seq(3))
    sub.behind()
    with pytest.raises(ValueError, match="after 3"):
        sub.fed(items(5, 6))
    assert sub.cursor == 3


def test_an_offer_with_a_hole_makes_it_lagging() -> None:
    """A batch that does not follow is left to the feeder."""
    sub = Subscription(Seq(3))
    assert not sub.offer(items(5, 6), writable=True)
    assert sub.mode is Mode.LAGGING
    assert [item.seq for item in sub.fed(items(4, 6))] == [4, 5, 6]
    assert sub.caught_up(Seq(6)) is None
    assert sub.mode is Mode.LIVE


def test_answers_say_what_was_sent() -> None:
    """A replay that ended is complete with its count; one that did not names the hole (P7, AT-14, AT-20b)."""
    replay = Replay(Seq(4), count=3)
    done = answers.complete(ChannelId("c"), replay, Seq(7))
    assert (done.from_, done.to, done.complete, done.count, done.gap) == (4, 7, True, 3, None)
    hole = answers.hole(ChannelId("c"), replay, Seq(7), Seq(20), "too_far")
    assert hole.gap is not None
    assert (hole.complete, hole.gap.from_, hole.gap.to, hole.gap.reason) == (False, 7, 20, "too_far")
