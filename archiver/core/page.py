"""Which events a history page holds: arithmetic on seqs, then a bound in bytes. Pages have no holes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from shared.ids import Seq
from shared.paging import around
from shared.records import HistoryEvent, HistoryPage, HistoryRequest

LIMIT_MAX = 1_000
PAGE_BYTES_MAX = 512 * 1024
"""Of JSON: a page travels in one NATS message."""

_EVENT_OVERHEAD_BYTES = 120


@dataclass(frozen=True, slots=True)
class Span:
    """Seqs from `first` to `last`, both inclusive; empty when `last < first`.

    `lowest` and `highest` are all that the request could have asked for: `more` is measured against them.
    `pivot` is the seq that a page too large keeps: it loses what is farthest from there.
    """

    first: Seq
    last: Seq
    lowest: Seq
    highest: Seq
    pivot: Seq

    @property
    def empty(self) -> bool:
        """Whether no event is in it."""
        return self.last < self.first


def span_of(request: HistoryRequest, head: Seq) -> Span:
    """The seqs of a page: the newest below `before`, the oldest above `after`, or those around a seq."""
    limit = min(request.limit, LIMIT_MAX)
    lowest = 1 if request.after is None else max(1, request.after + 1)
    highest = head if request.before is None else min(head, request.before - 1)
    if request.around is not None:
        pivot = max(lowest, min(request.around, highest))
        first, last = around(pivot, limit, lowest, highest)
    elif request.after is None:
        pivot, first, last = highest, max(lowest, highest - limit + 1), highest
    else:
        pivot, first, last = lowest, lowest, min(highest, lowest + limit - 1)
    return Span(Seq(first), Seq(last), Seq(lowest), Seq(highest), Seq(pivot))


def page_of(span: Span, events: Sequence[HistoryEvent]) -> HistoryPage:
    """The page of a span, cut at `PAGE_BYTES_MAX` but never empty for it; `events` is exactly the span."""
    assert [event.seq for event in events] == list(range(span.first, span.last + 1)), "a page has no holes"
    sizes = [len(orjson.dumps(event.body)) + _EVENT_OVERHEAD_BYTES for event in events]
    kept = events[fitting(sizes, span.pivot - span.first)] if events else events
    more = bool(kept) and (kept[0].seq > span.lowest or kept[-1].seq < span.highest)
    return HistoryPage(events=tuple(kept), more=more)


def fitting(sizes: Sequence[int], pivot: int) -> slice:
    """Which of consecutive items fit onto a page: that at `pivot`, then its neighbours, nearest first."""
    low = high = pivot
    size = sizes[pivot]
    while low > 0 or high < len(sizes) - 1:
        is_below = low > 0 and (high == len(sizes) - 1 or pivot - low < high - pivot)
        size += sizes[low - 1 if is_below else high + 1]
        if size > PAGE_BYTES_MAX:
            break
        low, high = (low - 1, high) if is_below else (low, high + 1)
    return slice(low, high + 1)
