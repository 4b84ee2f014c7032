"""The part of a message that shows why it was found, and where in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from archiver.core.query import Phrase
from archiver.core.terms import Span, is_run, spans
from shared.search import Snippet

CHARACTERS_MAX = 240
BEFORE_MAX = 60
"""Characters in front of the first match, if there are so many."""

RANGES_MAX = 50
_SLACK = 20
"""A snippet may begin and end so much earlier, so that it cuts no word."""


def snippet(text: str, phrases: Iterable[Phrase]) -> Snippet:
    """Around the first match, or the beginning; every match in it is a range."""
    found = matches(spans(text), phrases)
    start = 0
    if len(text) > CHARACTERS_MAX and found:
        start = _cut(text, max(0, min(found[0][0] - BEFORE_MAX, len(text) - CHARACTERS_MAX)))
    end = _cut_back(text, min(len(text), start + CHARACTERS_MAX), start)
    ranges = [(max(start, first), min(end, last)) for first, last in found if first < end and last > start]
    return Snippet(
        text=text[start:end],
        ranges=tuple((first - start, last - start) for first, last in ranges[:RANGES_MAX]),
        cut_before=start > 0,
        cut_after=end < len(text),
    )


def matches(said: Sequence[Span], phrases: Iterable[Phrase]) -> list[tuple[int, int]]:
    """Where the phrases stand, in order, what touches made one."""
    found: list[tuple[int, int]] = []
    for phrase in phrases:
        size = len(phrase.terms)
        for at in range(len(said) - size + 1):
            if all(it.term == term for it, term in zip(said[at:], phrase.terms[:-1], strict=False)):
                last = said[at + size - 1]
                if last.term == phrase.terms[-1]:
                    found.append(_extent(said[at : at + size], last.end))
                elif phrase.prefix and last.term.startswith(phrase.terms[-1]):
                    is_single = is_run(last.term) and len(phrase.terms[-1]) == 1
                    found.append(_extent(said[at : at + size], last.start + 1 if is_single else last.end))
    return _joined(found)


def _extent(said: Sequence[Span], end: int) -> tuple[int, int]:
    return min(it.start for it in said), max(end, *(it.end for it in said[:-1]), end)


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def _cut(text: str, at: int) -> int:
    """The beginning of a word near there."""
    space = text.rfind(" ", max(0, at - _SLACK), at)
    return at if space < 0 else space + 1


def _cut_back(text: str, at: int, start: int) -> int:
    """The end of a word near there."""
    if at == len(text):
        return at
    space = text.rfind(" ", max(start + 1, at - _SLACK), at)
    return at if space < 0 else space
