"""What people type into the search field, read: words, phrases, operators, and where something is wrong.

    tea "iced tea" brew* -coffee from:ada in:general has:link is:thread during:2026-11

Words must all be there; `-` in front of anything takes it out. Several `from:` or `in:` mean any of them. An
operator that there is not, or a value that it does not take, is an error with its place, so that no typing
mistake becomes a search for something else. A URL is no operator, nor is anything in quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from archiver.core.period import period
from archiver.core.terms import is_run, terms
from shared.errors import BadQuery

QUERY_CHARACTERS_MAX = 500
CLAUSES_MAX = 32
TERMS_MAX = 200
PREFIX_CHARACTERS_MIN = 2
OPERATORS = ("from", "in", "has", "is", "before", "after", "on", "during")
HAS = ("link", "file", "reaction")

_QUOTES = '"“”„'
_CLAUSE = re.compile(
    rf"""\s*(?P<minus>-(?=[^\s-]))?
    (?:(?P<name>[A-Za-z]+):(?!//)(?P<value>[{_QUOTES}][^{_QUOTES}]*[{_QUOTES}]?|[^\s]*)
      |[{_QUOTES}](?P<phrase>[^{_QUOTES}]*)(?P<closed>[{_QUOTES}]?)
      |(?P<word>[^\s{_QUOTES}]+))""",
    re.VERBOSE,
)
_SCHEMES = frozenset({"mailto", "tel", "xmpp", "sip", "urn"})


class Place(NamedTuple):
    """Where in the query something stands, in characters."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Phrase:
    """Terms in a row; the last one may be the beginning of a longer one."""

    terms: tuple[str, ...]
    prefix: bool = False
    negative: bool = False


@dataclass(frozen=True, slots=True)
class Named:
    """What an operator names: a user or a channel."""

    value: str
    place: Place
    negative: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A query that can be answered. Times are microseconds: `since_us` inclusive, `until_us` exclusive."""

    phrases: tuple[Phrase, ...] = ()
    authors: tuple[Named, ...] = ()
    channels: tuple[Named, ...] = ()
    has: tuple[tuple[str, bool], ...] = ()
    """What must be there, and, with True, what must not."""
    thread: bool | None = None
    since_us: int | None = None
    until_us: int | None = None

    @property
    def wanted(self) -> tuple[Phrase, ...]:
        """What must be in the text."""
        return tuple(phrase for phrase in self.phrases if not phrase.negative)

    @property
    def unwanted(self) -> tuple[Phrase, ...]:
        """What must not be."""
        return tuple(phrase for phrase in self.phrases if phrase.negative)


@dataclass
class _Reading:
    text: str
    zone: str
    phrases: list[Phrase] = field(default_factory=list)
    authors: list[Named] = field(default_factory=list)
    channels: list[Named] = field(default_factory=list)
    has: list[tuple[str, bool]] = field(default_factory=list)
    thread: bool | None = None
    since_us: int | None = None
    until_us: int | None = None


def parse(text: str, zone: str = "UTC") -> Query:
    """The query; `zone` is whose days the dates mean. Raises `BadQuery`, with its place."""
    if len(text) > QUERY_CHARACTERS_MAX:
        beyond = Place(QUERY_CHARACTERS_MAX, len(text) - QUERY_CHARACTERS_MAX)
        raise _wrong(f"a query has at most {QUERY_CHARACTERS_MAX} characters", beyond)
    period("2000", zone)  # a wrong zone is wrong without a date, too
    reading = _Reading(text, zone)
    at = clauses = 0
    while match := _CLAUSE.match(text, at):
        at = match.end()
        clauses += 1
        if clauses > CLAUSES_MAX:
            raise _wrong(f"at most {CLAUSES_MAX} words and operators", _place(match))
        _read(reading, match)
    query = Query(
        tuple(reading.phrases),
        tuple(reading.authors),
        tuple(reading.channels),
        tuple(reading.has),
        reading.thread,
        reading.since_us,
        reading.until_us,
    )
    _check(query, text)
    return query


def _read(reading: _Reading, match: re.Match[str]) -> None:
    name, negative = (match["name"] or "").lower(), match["minus"] is not None
    if match["phrase"] is not None:
        if not match["closed"]:
            raise _wrong("the quotation mark is not closed", _place(match))
        _say(reading, match["phrase"], negative)
    elif match["word"] is not None:
        _say(reading, match["word"], negative, may_be_prefix=True)
    elif name in OPERATORS:
        _operate(reading, name, match, negative)
    elif not match["value"] or match["value"][0] in ":0123456789" or name in _SCHEMES:
        _say(reading, f"{match['name']}:{match['value']}", negative)  # no operator: `note:`, `localhost:80`
    else:
        raise _wrong(
            f"there is no operator {match['name']}:, only {', '.join(f'{it}:' for it in OPERATORS)}; "
            "what is meant as text goes into quotation marks",
            _place(match),
        )


def _say(reading: _Reading, text: str, negative: bool, *, may_be_prefix: bool = False) -> None:
    is_prefix = may_be_prefix and len(text) > 1 and text.endswith("*")
    found = terms(text)
    if not found:
        return
    if is_prefix:
        if len(found) == 1 and len(found[0]) < PREFIX_CHARACTERS_MIN and not is_run(found[0]):
            at = reading.text.find(text)
            raise _wrong(
                f"a beginning has at least {PREFIX_CHARACTERS_MIN} characters before its *",
                Place(at, len(text)),
            )
        phrase = Phrase(tuple(found), prefix=True, negative=negative)
    else:
        phrase = Phrase(tuple(found), negative=negative)
    reading.phrases.append(_open_ended(phrase))


def _open_ended(phrase: Phrase) -> Phrase:
    """Without the final character of a run, which stands in a text only where the run ends there, too."""
    last = phrase.terms[-1]
    if not (is_run(last) and len(last) == 1):
        return phrase
    before = phrase.terms[-2] if len(phrase.terms) > 1 else ""
    if len(before) == 2 and is_run(before):
        return replace(phrase, terms=phrase.terms[:-1], prefix=False)
    return replace(phrase, prefix=True)


def _operate(reading: _Reading, name: str, match: re.Match[str], negative: bool) -> None:
    value, place = match["value"], _place(match)
    if value[:1] and value[0] in _QUOTES:
        if len(value) < 2 or value[-1] not in _QUOTES:
            raise _wrong("the quotation mark is not closed", place)
        value = value[1:-1]
    elif name in {"from", "in"}:
        value = value.removeprefix("@" if name == "from" else "#")
    if not value:
        raise _wrong(f"{name}: needs a value: {_ALLOWED[name]}", place)
    match name:
        case "from":
            reading.authors.append(Named(value, place, negative))
        case "in":
            reading.channels.append(Named(value, place, negative))
        case "has":
            reading.has.append((_one_of(name, value, HAS, place), negative))
        case "is":
            _one_of(name, value, ("thread",), place)
            if reading.thread not in {None, not negative}:
                raise _wrong("a message cannot be in a thread and not in one", place)
            reading.thread = not negative
        case _:
            _limit(reading, name, value, place, negative)


def _limit(reading: _Reading, name: str, value: str, place: Place, negative: bool) -> None:
    if negative:
        raise _wrong(f"{name}: cannot be taken out; use before: and after:", place)
    try:
        first_us, end_us = period(value, reading.zone)
    except BadQuery as error:
        raise _wrong(f"{name}: {error.message}", place) from None
    since_us = {"before": None, "after": end_us}.get(name, first_us)
    until_us = {"before": first_us, "after": None}.get(name, end_us)
    if since_us is not None:
        reading.since_us = max(reading.since_us if reading.since_us is not None else since_us, since_us)
    if until_us is not None:
        reading.until_us = min(reading.until_us if reading.until_us is not None else until_us, until_us)


_ALLOWED = {
    "from": "a user, from:ada",
    "in": "a channel's id or name, in:general",
    "has": "link, file or reaction",
    "is": "thread",
    "before": "a day, month or year, before:2026-11-25",
    "after": "a day, month or year, after:2026-11-25",
    "on": "a day, on:2026-11-25",
    "during": "a day, month or year, during:2026-11",
}


def _one_of(name: str, value: str, allowed: tuple[str, ...], place: Place) -> str:
    if value.lower() not in allowed:
        raise _wrong(f"{name}: takes {', '.join(allowed)}", place)
    return value.lower()


def _check(query: Query, text: str) -> None:
    whole = Place(0, len(text))
    if sum(len(phrase.terms) for phrase in query.phrases) > TERMS_MAX:
        raise _wrong(f"at most {TERMS_MAX} terms", whole)
    positive = (
        query.wanted
        or any(not it.negative for it in (*query.authors, *query.channels))
        or any(not negative for _, negative in query.has)
        or query.thread
        or query.since_us is not None
        or query.until_us is not None
    )
    if not positive:
        raise _wrong(
            "say what to look for, not only what not" if query.phrases else "nothing to look for", whole
        )


def _place(match: re.Match[str]) -> Place:
    start = match.start() + len(match[0]) - len(match[0].lstrip())
    return Place(start, match.end() - start)


def _wrong(message: str, place: Place) -> BadQuery:
    return BadQuery(message, offset=place.offset, length=place.length)
