"""The outbox sends in order, keeps what is unanswered, and repeats it in the old order."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.client.errors import OutboxFull
from shared.client.outbox import RETRY_AFTER_S, Outbox


def filled(outbox: Outbox, *commands: str, lane: str = "c") -> Outbox:
    for command in commands:
        outbox.add(lane, command, command.encode())
    return outbox


def sent(outbox: Outbox, now_s: float = 0.0) -> list[str]:
    return [entry.id for entry in outbox.take(now_s)]


def test_first_in_first_out_within_the_window() -> None:
    """A lane has `window` unanswered commands at most; an answer lets the next one go."""
    outbox = filled(Outbox(window=2), "a", "b", "c")
    assert sent(outbox) == ["a", "b"]
    assert sent(outbox) == []
    assert outbox.answered("a")
    assert sent(outbox) == ["c"]


def test_lanes_do_not_wait_for_each_other() -> None:
    """A postponed channel does not hold up another one."""
    outbox = filled(filled(Outbox(window=1), "a1", "a2", lane="a"), "b1", lane="b")
    assert sent(outbox) == ["a1", "b1"]
    outbox.postpone("a1", 0.0, 5.0)
    outbox.answered("b1")
    filled(outbox, "b2", lane="b")
    assert sent(outbox, 1.0) == ["b2"]


def test_connection_limit_is_shared_fairly() -> None:
    """`in_flight_max` bounds all lanes together, and the lane that was left out comes first next time."""
    outbox = filled(filled(Outbox(window=2, in_flight_max=2), "a1", "a2", "a3", lane="a"), "b1", lane="b")
    assert sent(outbox) == ["a1", "a2"]
    outbox.answered("a1")
    assert sent(outbox) == ["b1"]


def test_reconnect_repeats_in_order() -> None:
    """What is unanswered when the connection is lost goes first again, in the old order (AT-16)."""
    outbox = filled(Outbox(window=3), "a", "b", "c", "d")
    assert sent(outbox) == ["a", "b", "c"]
    outbox.answered("b")
    outbox.disconnected()
    assert sent(outbox) == ["a", "c", "d"]


def test_later_waits_and_begins_with_the_oldest() -> None:
    """After "later" nothing of the lane is sent until the window is answered and the time has passed."""
    outbox = filled(Outbox(window=3), "a", "b", "c", "d")
    sent(outbox)
    assert outbox.postpone("a", 10.0, 2.0)
    assert sent(outbox, 20.0) == []
    outbox.postpone("b", 10.1, 2.0)
    outbox.answered("c")
    assert sent(outbox, 12.0) == []
    assert outbox.next_at_s() == pytest.approx(12.1)
    assert sent(outbox, 12.1) == ["a", "b", "d"]


def test_later_without_a_time_waits_a_default() -> None:
    """An error without `retry_after_ms` is not answered with a busy loop."""
    outbox = filled(Outbox(), "a")
    sent(outbox)
    outbox.postpone("a", 0.0, None)
    assert sent(outbox, RETRY_AFTER_S / 2) == []
    assert sent(outbox, RETRY_AFTER_S) == ["a"]


def test_those_who_are_refused_together_come_back_apart() -> None:
    """The wait is `retry_after` and a random part of it, in the old order all the same."""
    waits = []
    for share in (0.0, 0.4, 1.0):
        outbox = filled(Outbox(draw=lambda ceiling, share=share: ceiling * share), "a", "b")
        sent(outbox)
        outbox.postpone("b", 0.0, 2.0)
        outbox.postpone("a", 0.0, 2.0)
        at_s = outbox.next_at_s()
        assert at_s is not None
        waits.append(at_s)
        assert sent(outbox, at_s - 0.01) == []
        assert sent(outbox, at_s) == ["a", "b"]
    assert waits == [2.0, 2.8, 4.0]


def test_answer_to_an_earlier_try_counts() -> None:
    """An ack that arrives after the reconnect for what was sent before it ends the command."""
    outbox = filled(Outbox(window=2), "a", "b")
    sent(outbox)
    outbox.disconnected()
    assert outbox.answered("a")
    assert sent(outbox) == ["b"]
    assert not outbox.answered("a")


def test_bound() -> None:
    """A full outbox refuses, and an id that is unanswered is taken once only."""
    outbox = filled(Outbox(entries_max=2), "a", "b", "b")
    assert len(outbox) == 2
    with pytest.raises(OutboxFull):
        filled(outbox, "c")


def test_empty_when_all_is_answered() -> None:
    """Nothing of a lane remains: a client may talk in any number of channels over its life."""
    outbox = filled(Outbox(), "a", "b")
    sent(outbox)
    outbox.answered("a")
    outbox.answered("b")
    assert len(outbox) == 0
    assert not outbox.ready
    assert vars(outbox)["_lanes"] == {}


def test_unknown_answers_are_ignored() -> None:
    """Answers to commands that are not ours change nothing."""
    outbox = filled(Outbox(), "a")
    assert not outbox.answered("x")
    assert not outbox.postpone("a", 0.0, 1.0)
    assert sent(outbox) == ["a"]


actions = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 2)),
        st.tuples(st.just("take"), st.integers(0, 3)),
        st.tuples(st.sampled_from(["ack", "later"]), st.integers(0, 9)),
        st.tuples(st.just("lost"), st.just(0)),
    ),
    max_size=80,
)


class Line:
    """A server that answers what it is told to, and notes the order of first sends."""

    def __init__(self, window: int) -> None:
        self.outbox = Outbox(window=window, in_flight_max=6)
        self.now_s = 0.0
        self.count = 0
        self.flying: list[str] = []
        self.first_sends: dict[str, list[int]] = defaultdict(list)

    def add(self, number: int) -> None:
        self.count += 1
        self.outbox.add(f"lane{number}", str(self.count), b"")

    def take(self, wait_s: int) -> None:
        self.now_s += wait_s
        for entry in self.outbox.take(self.now_s):
            self.flying.append(entry.id)
            if entry.order not in self.first_sends[entry.lane]:
                self.first_sends[entry.lane].append(entry.order)

    def lost(self, _: int) -> None:
        self.outbox.disconnected()
        self.flying.clear()

    def ack(self, number: int) -> None:
        if self.flying:
            assert self.outbox.answered(self.flying.pop(number % len(self.flying)))

    def later(self, number: int) -> None:
        if self.flying:
            assert self.outbox.postpone(self.flying.pop(number % len(self.flying)), self.now_s, 2.0)


@given(actions, st.integers(1, 4))
def test_everything_is_answered_and_first_sends_are_in_order(
    steps: list[tuple[str, int]], window: int
) -> None:
    """Whatever happens, each lane's first sends are in order, and in the end every command is answered."""
    line = Line(window)
    for action, number in steps:
        getattr(line, action)(number)
        assert len(line.flying) <= 6
    for _ in range(10 * line.count + 10):
        line.take(5)
        line.ack(0)
    assert len(line.outbox) == 0
    assert all(orders == sorted(orders) for orders in line.first_sends.values())
    assert sum(map(len, line.first_sends.values())) == line.count


@given(st.lists(st.sampled_from(["ack", "later", "lost"]), max_size=40))
def test_window_of_one_keeps_order_under_every_refusal(replies: list[str]) -> None:
    """With a window of one, commands are recorded in the order in which they were given."""
    outbox, now, recorded = filled(Outbox(window=1), *"abcdefgh"), 0.0, list[str]()
    for reply in [*replies, *["ack"] * 10]:
        now += 2.0
        for command in sent(outbox, now):
            if reply == "ack":
                recorded.append(command)
                outbox.answered(command)
            elif reply == "later":
                outbox.postpone(command, now, 1.0)
            else:
                outbox.disconnected()
    assert recorded == list("abcdefgh")
