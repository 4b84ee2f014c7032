"""Subscriptions as a state machine: whatever the socket and the client do, nothing is lost or doubled."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.core import answers
from edge.core.subscriptions import Mode, Replay, Subscription
from shared.ids import ChannelId, Seq


@dataclass(frozen=True)
class Item:
    """An event, as far as a subscription cares."""

    seq: Seq


def items(first: int, last: int) -> list[Item]:
    """Consecutive events."""
    return [Item(Seq(seq)) for seq in range(first, last + 1)]


def test_live_takes_what_follows() -> None:
    """A live subscription writes what follows its cursor, and the very list if all of it does (P20)."""
    sub = Subscription(Seq(5))
    batch = items(6, 8)
    assert sub.offer(batch, writable=True) is batch
    assert sub.offer(items(7, 9), writable=True) == items(9, 9)
    assert sub.offer(items(7, 9), writable=True) == ()
    assert sub.cursor == 9


def test_full_socket_makes_it_lag() -> None:
    """What the socket does not take is not sent now and not forgotten."""
    sub = Subscription(Seq(0))
    assert sub.offer(items(1, 3), writable=False) == ()
    assert (sub.mode, sub.cursor) == (Mode.LAGGING, 0)
    assert sub.offer(items(4, 5), writable=True) == (), "live events never overtake"
    assert sub.fed(items(1, 5)) == items(1, 5)
    assert sub.caught_up(Seq(5)) is None
    assert sub.offer(items(6, 6), writable=True) == items(6, 6)


def test_hole_in_the_feed_is_fed() -> None:
    """Events that do not follow the cursor make it lag rather than leave a hole."""
    sub = Subscription(Seq(1))
    assert sub.offer(items(3, 4), writable=True) == ()
    assert sub.mode is Mode.LAGGING
    assert sub.fed(items(2, 4)) == items(2, 4)


def test_hole_in_what_is_fed_is_a_bug() -> None:
    """Pages that leave a hole raise and change nothing."""
    sub = Subscription(Seq(0))
    sub.asked(Seq(0))
    with pytest.raises(ValueError, match="fed 2 after 0"):
        sub.fed(items(2, 3))
    assert sub.cursor == 0


def test_replay_counts_and_ends() -> None:
    """A question is answered with what was sent for it (AT-14)."""
    sub = Subscription(Seq(10))
    sub.asked(Seq(4))
    sub.fed(items(5, 7))
    sub.fed(items(6, 10))
    replay = sub.caught_up(Seq(10))
    assert replay is not None
    assert (replay.after, replay.count, sub.mode) == (4, 6, Mode.LIVE)


def test_named_gap_goes_on_at_the_head() -> None:
    """What is named instead of sent is behind the client."""
    sub = Subscription(Seq(2))
    sub.asked(Seq(2))
    assert sub.skipped(Seq(90)) is not None
    assert sub.offer(items(91, 91), writable=True) == items(91, 91)


def test_nothing_after_the_end() -> None:
    """The event that removes a member is the last one that is sent, live or fed (P21)."""
    live = Subscription(Seq(1))
    live.ended(Seq(3))
    assert live.offer(items(2, 6), writable=True) == items(2, 3)
    assert live.over
    lagging = Subscription(Seq(1))
    lagging.offer(items(2, 2), writable=False)
    lagging.ended(Seq(3))
    lagging.ended(Seq(9))
    assert lagging.fed(items(2, 6)) == items(2, 3)
    assert lagging.over


def test_renewed_before_the_end_was_sent() -> None:
    """Who becomes a member again goes on without a hole."""
    sub = Subscription(Seq(1))
    sub.ended(Seq(3))
    sub.renewed(Seq(5))
    assert sub.mode is Mode.LAGGING
    assert sub.fed(items(2, 5)) == items(2, 5)
    assert sub.caught_up(Seq(5)) is None
    sub.ended(Seq(9))
    sub.renewed(Seq(5))
    assert sub.mode is Mode.LIVE


def test_answers_say_what_was_sent() -> None:
    """A replay that ended is complete with its count; one that did not names the hole (P7, AT-14, AT-20b)."""
    replay = Replay(Seq(4), count=3)
    done = answers.complete(ChannelId("c"), replay, Seq(7))
    assert (done.from_, done.to, done.complete, done.count, done.gap) == (4, 7, True, 3, None)
    hole = answers.hole(ChannelId("c"), replay, Seq(7), Seq(20), "too_far")
    assert hole.gap is not None
    assert (hole.complete, hole.gap.from_, hole.gap.to, hole.gap.reason) == (False, 7, 20, "too_far")


class Deliveries(RuleBasedStateMachine):
    """A log that grows, a socket that fills and drains, a client that asks again."""

    def __init__(self) -> None:
        super().__init__()
        self.head = 0
        self.flushed = 0
        self.sub = Subscription(Seq(0))
        self.client = 0
        self.ended: int | None = None

    def receive(self, got: object) -> None:
        assert isinstance(got, list | tuple)
        for item in got:
            assert item.seq == self.client + 1, "once each, in order, without a hole"
            assert self.ended is None or item.seq <= self.ended
            self.client = item.seq

    @rule(count=st.integers(1, 5))
    def grow(self, count: int) -> None:
        self.head += count

    @precondition(lambda self: self.flushed < self.head and self.ended is None)
    @rule(writable=st.booleans(), overlap=st.integers(0, 2))
    def flush(self, writable: bool, overlap: int) -> None:
        first = max(1, self.flushed + 1 - overlap)
        self.receive(self.sub.offer(items(first, self.head), writable=writable))
        self.flushed = self.head

    @precondition(lambda self: self.sub.mode is not Mode.LIVE)
    @rule(size=st.integers(1, 4), back=st.integers(0, 2))
    def feed(self, size: int, back: int) -> None:
        first = max(1, self.sub.cursor + 1 - back)
        last = min(self.flushed, self.sub.cursor + size)
        if first <= last:
            self.receive(self.sub.fed(items(first, last)))
        if self.sub.cursor == self.flushed:
            self.sub.caught_up(Seq(self.flushed))

    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        self.client = data.draw(st.integers(0, self.sub.cursor))
        self.sub.asked(Seq(self.client))

    @precondition(lambda self: self.ended is None and self.flushed > 0)
    @rule()
    def remove(self) -> None:
        self.head += 1
        self.ended = self.head
        self.sub.ended(Seq(self.head))
        self.receive(self.sub.offer(items(self.flushed + 1, self.head + 2), writable=True))
        self.head = self.flushed = self.head + 2

    @invariant()
    def the_cursor_is_what_the_client_has(self) -> None:
        assert self.sub.cursor == self.client

    @invariant()
    def live_means_up_to_date(self) -> None:
        if self.sub.mode is Mode.LIVE and self.ended is None:
            assert self.sub.cursor == self.flushed


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
