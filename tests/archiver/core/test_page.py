"""Pages: which seqs, and where they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.page import LIMIT_MAX, PAGE_BYTES_MAX, page_of, span_of
from shared.ids import Seq, StreamSeq
from shared.records import HistoryEvent, HistoryRequest
from tests.support.archive import WORKSPACE, key_of

EDGE = st.none() | st.integers(-2, 60)


def request(before: int | None, after: int | None, limit: int, around: int | None = None) -> HistoryRequest:
    """A request about some channel."""
    return HistoryRequest.model_validate(
        {
            "workspace": WORKSPACE,
            "channel": key_of("a").channel,
            "before": before,
            "after": after,
            "around": around,
            "limit": limit,
        }
    )


def events(first: int, last: int, size: int = 1) -> list[HistoryEvent]:
    """Events of a body size."""
    return [
        HistoryEvent(seq=Seq(seq), stream_seq=StreamSeq(seq), at_us=1, body="x" * size)
        for seq in range(first, last + 1)
    ]


@given(EDGE, EDGE, st.integers(1, 70), st.integers(0, 50))
def test_spans_are_the_slices_asked_for(before: int | None, after: int | None, limit: int, head: int) -> None:
    """The newest below `before`, or the oldest above `after`, and whether that was all."""
    lowest, highest = max(1, (after or 0) + 1), min(head, head if before is None else before - 1)
    wanted = list(range(lowest, highest + 1))
    expected = wanted[-limit:] if after is None else wanted[:limit]
    span = span_of(request(before, after, limit), Seq(head))
    assert span.empty == (not expected)
    if not span.empty:
        page = page_of(span, events(span.first, span.last))
        assert [event.seq for event in page.events] == expected
        assert page.more == (len(wanted) > len(expected))


@given(EDGE, EDGE, st.integers(-2, 60), st.integers(1, 70), st.integers(0, 50))
def test_pages_around_a_seq(
    before: int | None, after: int | None, around: int, limit: int, head: int
) -> None:
    """As many as fit between the bounds, half of them before it unless one of the sides ends."""
    lowest, highest = max(1, (after or 0) + 1), min(head, head if before is None else before - 1)
    span = span_of(request(before, after, limit, around), Seq(head))
    assert span.empty == (lowest > highest)
    if not span.empty:
        assert lowest <= span.first <= span.pivot <= span.last <= highest
        assert span.last - span.first + 1 == min(limit, highest - lowest + 1)
        if lowest <= around <= highest:
            assert span.pivot == around
        sides = span.pivot - span.first, span.last - span.pivot + 1
        if span.first > lowest and span.last < highest:
            assert sides == (limit // 2, limit - limit // 2)
        page = page_of(span, events(span.first, span.last))
        assert [event.seq for event in page.events] == list(range(span.first, span.last + 1))
        assert page.more == (span.first > lowest or span.last < highest)


def test_bytes_cut_a_page_around_its_seq() -> None:
    """Too large a page keeps what it is about, and its neighbours."""
    span = span_of(request(None, None, 100, 40), Seq(100))
    page = page_of(span, events(1, 100, PAGE_BYTES_MAX // 10))
    assert [event.seq for event in page.events] == list(range(36, 45))
    assert page.more


def test_limits_are_bounded() -> None:
    """However many are asked for, a page has at most so many."""
    span = span_of(request(None, None, 10**9), Seq(10**6))
    assert span.last - span.first + 1 == LIMIT_MAX


@pytest.mark.parametrize("after", [None, 0])
def test_bytes_cut_a_page_at_its_far_end(after: int | None) -> None:
    """A page too large loses events at the end that the next page begins with, never in the middle."""
    span = span_of(request(None, after, 100), Seq(100))
    page = page_of(span, events(1, 100, PAGE_BYTES_MAX // 10))
    seqs = [event.seq for event in page.events]
    assert len(seqs) == 9
    assert page.more
    assert seqs == (list(range(92, 101)) if after is None else list(range(1, 10)))


def test_one_event_always_fits() -> None:
    """Even an event larger than the bound is delivered: otherwise nobody could page past it."""
    span = span_of(request(None, None, 5), Seq(5))
    assert [event.seq for event in page_of(span, events(1, 5, 2 * PAGE_BYTES_MAX)).events] == [5]


def test_a_hole_is_a_bug() -> None:
    """A page is never built from anything but every event of its span."""
    span = span_of(request(None, None, 5), Seq(5))
    with pytest.raises(AssertionError):
        page_of(span, [*events(1, 2), *events(4, 5)])
