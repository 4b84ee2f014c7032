"""Which events a history page holds: arithmetic on seqs, then a bound in bytes. Pages have no holes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from shared.ids import Seq
from shared.records import HistoryEvent, HistoryPage, HistoryRequest

LIMIT_MAX = 1_000
PAGE_BYTES_MAX = 512 * 1024
"""Of JSON: a page travels in one NATS message."""

_EVENT_OVERHEAD_BYTES = 120


@dataclass(frozen=True, slots=True)
class Span:
    """Seqs from `first` to `last`, both inclusive; empty when `last < first`.

    `lowest` and `highest` are all that the request could have asked for: `more` is measured against them.
    """

    first: Seq
    last: Seq
    lowest: Seq
    highest: Seq
    newest_first: bool

    @property
    def empty(self) -> bool:
        """Whether no event is in it."""
        return self.last < self.first


def span_of(request: HistoryRequest, head: Seq) -> Span:
    """The seqs of a page: the newest below `before`, or, as soon as `after` is given, the oldest above it."""
    limit = min(request.limit, LIMIT_MAX)
    lowest = 1 if request.after is None else max(1, request.after + 1)
    highest = head if request.before is None else min(head, request.before - 1)
    if request.after is None:
        first, last = max(lowest, highest - limit + 1), highest
    else:
        first, last = lowest, min(highest, lowest + limit - 1)
    return Span(Seq(first), Seq(last), Seq(lowest), Seq(highest), request.after is None)


def page_of(span: Span, events: Sequence[HistoryEvent]) -> HistoryPage:
    """The page of a span, cut at `PAGE_BYTES_MAX` but never empty for it; `events` is exactly the span."""
    assert [event.seq for event in events] == list(range(span.first, span.last + 1)), "a page has no holes"
    kept: list[HistoryEvent] = []
    size = 0
    for event in reversed(events) if span.newest_first else events:
        size += len(orjson.dumps(event.body)) + _EVENT_OVERHEAD_BYTES
        if kept and size > PAGE_BYTES_MAX:
            break
        kept.append(event)
    if span.newest_first:
        kept.reverse()
    return HistoryPage(events=tuple(kept), more=_more(span, kept))


def _more(span: Span, kept: Sequence[HistoryEvent]) -> bool:
    if not kept:
        return False
    return kept[0].seq > span.lowest if span.newest_first else kept[-1].seq < span.highest
