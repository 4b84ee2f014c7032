"""What `lagging` makes of its turns."""

from __future__ import annotations

from tests.bench.crowd import Received
from tests.bench.lagging import STALLED_MANY, Turn, figures_of_many, figures_of_one


def _turn(
    p99_ms: float, *, user_kb: float = 0.0, kernel_kb: float = 0.0, rss_kb: float = 0.0, lost: int = 0
) -> Turn:
    received = Received(events=1, gaps=0, closed=0, late_ms={"p50": 1.0, "p99": p99_ms})
    return Turn(received, user_kb, 2 * user_kb, kernel_kb, rss_kb, lost)


def test_the_others_are_compared_within_a_pair() -> None:
    """A ratio of 1 whatever the machine did between the pairs; the most that was held; any loss."""
    pairs = [(_turn(10), _turn(10, user_kb=5, kernel_kb=200)), (_turn(90), _turn(90, user_kb=40, lost=3))]
    figures = {figure.figure: figure for figure in figures_of_one(pairs)}
    assert figures["delivery p99 of the others"].ratio == 1
    assert figures["delivery p99 of the others"].met is True
    assert figures["unsent in the edge, at most"].value == 40
    assert figures["unsent in the edge, at most"].met is False
    assert figures["the same, stalled again"].value == 80
    assert figures["unsent in the kernel, at most"].met is False
    assert figures["events lost or out of order"].met is False


def test_others_who_wait_for_the_stalled_one_are_seen() -> None:
    """A third later than without is too late."""
    figures = {figure.figure: figure for figure in figures_of_one([(_turn(30), _turn(40))])}
    assert figures["delivery p99 of the others"].met is False


def test_memory_is_shared_out_among_the_stalled() -> None:
    """The growth against the turn in which all read."""
    pairs = [(_turn(1, rss_kb=70_000), _turn(1, rss_kb=70_000 + 10 * STALLED_MANY))]
    figures = {figure.figure: figure for figure in figures_of_many(pairs)}
    assert figures["RSS of edge"].value == 10
    assert figures["RSS of edge"].met is True
