"""A subscription against a reference log: consecutive, each event once per ask, nothing after the end.

The machine plays the part of feed, socket and feeder in any order, as `edge.delivery` does: a feed offers
what is new since its last flush, the socket is full or not, the feeder reads pages behind the cursor.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.core.subscriptions import Mode, Subscription
from shared.ids import Seq


@dataclass(frozen=True)
class Item:
    """An event of which only the number matters."""

    seq: Seq


def items(after: int, upto: int) -> list[Item]:
    """The log between two positions."""
    return [Item(Seq(seq)) for seq in range(after + 1, upto + 1)]


class Deliveries(RuleBasedStateMachine):
    """One session in one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.head = self.offered = 5
        self.sub = Subscription(Seq(5))
        self.next = 6
        """What the client has to get next."""
        self.asked: int | None = None
        self.sent_since = 0
        self.attached = True
        self.last: int | None = None

    def client_gets(self, got: list[Item]) -> None:
        """Events arrive at the client."""
        for item in got:
            assert item.seq == self.next, "a hole, a repetition, or the wrong order"
            assert self.last is None or item.seq <= self.last, "sent after the end"
            assert item.seq <= self.head
            self.next += 1
        self.sent_since += len(got)

    @rule(count=st.integers(1, 4))
    def log_grows(self, count: int) -> None:
        """Events are recorded; the feed has not offered them yet."""
        self.head += count

    @precondition(lambda self: self.attached and self.offered < self.head)
    @rule(writable=st.booleans(), removed=st.booleans())
    def feed_flushes(self, writable: bool, removed: bool) -> None:
        """The feed offers everything since its last flush; one of these events may end the membership."""
        entries = items(self.offered, self.head)
        self.offered = self.head
        if removed:
            self.last = int(entries[len(entries) // 2].seq)
            self.sub.ended(Seq(self.last))
            self.attached = False
        self.client_gets(list(self.sub.offer(entries, writable=writable)))

    @precondition(lambda self: self.sub.mode is not Mode.LIVE and not self.sub.over)
    @rule(size=st.integers(1, 3), overlap=st.integers(0, 2))
    def feeder_reads_a_page(self, size: int, overlap: int) -> None:
        """A page behind the cursor, perhaps with events that were sent already."""
        start = max(0, self.sub.cursor - overlap)
        page = items(start, min(self.head, self.sub.cursor + size))
        self.client_gets(list(self.sub.fed(page)))

    @precondition(lambda self: self.sub.mode is not Mode.LIVE and self.sub.cursor == self.head)
    @rule()
    def feeder_is_done(self) -> None:
        """The head is reached: what was asked for is answered with its count."""
        replay = self.sub.caught_up(Seq(self.head))
        assert (replay is None) == (self.asked is None)
        if replay is not None:
            assert (replay.after, replay.count) == (self.asked, self.sent_since)
        self.asked = None

    @precondition(lambda self: self.sub.mode is not Mode.LIVE)
    @rule()
    def feeder_gives_up(self) -> None:
        """The rest is named as a gap: the client goes on behind it."""
        if self.last is not None and self.head > self.last:
            return  # `edge.delivery` ends such a subscription before
        self.sub.skipped(Seq(self.head))
        self.next = self.head + 1
        self.asked = None

    @rule(back=st.integers(0, 8))
    def client_asks(self, back: int) -> None:
        """A resume from anywhere below the head, at any moment."""
        after = max(0, min(self.head, self.sub.cursor) - back)
        self.sub.asked(Seq(after))
        self.asked, self.next, self.sent_since = after, after + 1, 0

    @precondition(lambda self: not self.attached and not self.sub.over)
    @rule()
    def user_joins_again(self) -> None:
        """A member again before the end was sent: the feed goes on behind its head."""
        self.sub.renewed(Seq(self.head))
        self.last, self.attached, self.offered = None, True, self.head

    @precondition(lambda self: self.sub.mode is not Mode.LIVE)
    @rule()
    def page_with_a_hole_is_refused(self) -> None:
        """A page that does not follow the cursor raises and changes nothing."""
        if self.last is not None and self.sub.cursor + 2 > self.last:
            return
        before = (self.sub.cursor, self.sub.mode)
        with pytest.raises(ValueError, match="fed"):
            self.sub.fed(items(self.sub.cursor + 1, self.sub.cursor + 3))
        assert (self.sub.cursor, self.sub.mode) == before

    @invariant()
    def cursor_is_what_the_client_has(self) -> None:
        """The cursor is always the last event that was sent."""
        assert self.sub.cursor == self.next - 1

    @invariant()
    def live_means_up_to_date(self) -> None:
        """A live subscription has everything that its feed has offered; all others are being fed."""
        if self.sub.mode is Mode.LIVE and not self.sub.over:
            assert self.sub.cursor >= self.offered


TestDeliveries = Deliveries.TestCase


def test_usual_case_hands_the_list_on_as_it_is() -> None:
    """What all sessions get is the same object, so that its frames are made once (P20)."""
    entries = items(5, 8)
    assert Subscription(Seq(5)).offer(entries, writable=True) is entries


def test_offer_with_a_hole_becomes_lagging() -> None:
    """A batch that does not follow the cursor is left alone: the feeder reads what is missing."""
    sub = Subscription(Seq(5))
    assert list(sub.offer(items(6, 8), writable=True)) == []
    assert (sub.mode, sub.cursor) == (Mode.LAGGING, 5)


def test_old_offer_is_nothing() -> None:
    """Events that were sent already are not sent again, and nothing lags because of them."""
    sub = Subscription(Seq(5))
    assert list(sub.offer(items(2, 5), writable=False)) == []
    assert sub.mode is Mode.LIVE


def test_removal_within_a_batch_cuts_it() -> None:
    """The event that ends the membership is the last one of its batch that is sent (P21)."""
    sub = Subscription(Seq(5))
    sub.ended(Seq(7))
    sub.ended(Seq(9))
    assert [item.seq for item in sub.offer(items(5, 9), writable=True)] == [6, 7]
    assert sub.over


def test_feeding_a_live_subscription_is_a_bug() -> None:
    """Only one source writes at a time."""
    with pytest.raises(AssertionError):
        Subscription(Seq(5)).fed(items(5, 6))
