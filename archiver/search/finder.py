"""Asking the index: a query and who may read what become one statement each.

Newest first is the order of the log, so FTS5 walks its lists backwards and stops when a page is full. Few
channels are looked for as terms, many are looked up for each hit: a common word in three quiet channels would
walk for ever, and an OR over thousands costs more than it saves. Each question has a deadline.
"""

from __future__ import annotations

import array
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import apsw

from archiver.core.match import HOLDS, THREAD, author_term, channel_term, excluded, expression
from archiver.core.query import Named, Query
from archiver.search.index import SearchIndex
from archiver.search.writing import DELETED, HOUR_MS, REACTED, folded_name
from shared.errors import Unavailable
from shared.ids import ChannelId, Seq, StreamSeq, UserId, WorkspaceId
from shared.search import COUNT_MAX, Inside, SearchHit, SearchPlace, SearchReply

CHANNELS_AS_TERMS_MAX = 200
RANKED_MAX = 20_000
"""Hits that are ranked: the newest so many."""

STEPS = 20_000
"""Of SQLite's machine, between two looks at the clock: about a millisecond."""

_Row: TypeAlias = tuple[Any, ...]
Values: TypeAlias = dict[str, Any]


class Written(NamedTuple):
    """What the index knows of a message besides its words. Times are milliseconds."""

    author: UserId
    at_ms: int
    happened_ms: int | None
    thread: Seq | None
    text_seq: Seq
    """Of the event that its present text is from: the message's own, or the last edit's."""


@dataclass(slots=True)
class _Plan:
    """A statement in the making: what FTS5 looks for, and what each hit is asked besides."""

    match: str
    barred: str
    clauses: list[str]
    values: Values

    def sql(self, columns: str, tail: str) -> str:
        clauses = list(self.clauses)
        if self.match:
            source = "words CROSS JOIN docs ON docs.stream_seq = words.rowid"
            clauses.insert(0, "words MATCH :match")
            self.values["match"] = self.match
            place = "words.rowid"
        else:
            source, place = "docs", "docs.stream_seq"
            clauses.append(f"NOT docs.flags & {DELETED}")
            if self.barred:
                clauses.append(
                    "docs.stream_seq NOT IN (SELECT rowid FROM words WHERE words MATCH :barred"
                    " AND rowid BETWEEN :lo AND :hi)"
                )
                self.values["barred"] = self.barred
        clauses.append(f"{place} BETWEEN :lo AND :hi")
        where = " AND ".join(clauses)
        return f"SELECT {columns} FROM {source} WHERE {where} {tail}".replace(":place", place)  # noqa: S608


class Finder:
    """Of one partition. All methods block: call them off the event loop."""

    def __init__(self, index: SearchIndex, timeout_s: float) -> None:
        self._index = index
        self._timeout_s = timeout_s
        self._channels: dict[WorkspaceId, dict[ChannelId, int]] = {}
        self._ids: dict[int, ChannelId] = {}

    def newest(
        self, query: Query, who: Reader, upto: StreamSeq, limit: int, after: SearchPlace | None
    ) -> SearchReply:
        """The newest hits below `after`; on the first page they are counted, up to `COUNT_MAX`."""
        rows_max = limit + 1 if after is not None else max(limit, COUNT_MAX) + 1
        with self._index.reading() as reader, _deadline(reader, self._timeout_s):
            self._learn(reader)
            plan, inside = self._plan(reader, query, who, upto)
            if plan is None:
                return SearchReply(hits=(), more=False, count=0, inside=inside)
            if after is not None:
                self._begin_below(reader, plan, who, after)
            sql = plan.sql(_COLUMNS, "ORDER BY :place DESC LIMIT :limit")
            rows = _rows(reader, sql, {**plan.values, "limit": rows_max})
        hits = tuple(self._hit(row) for row in rows[:limit])
        return SearchReply(
            hits=hits,
            more=len(rows) > limit,
            count=None if after is not None else min(len(rows), COUNT_MAX),
            capped=after is None and len(rows) > COUNT_MAX,
            inside=inside,
        )

    def relevant(self, query: Query, who: Reader, upto: StreamSeq, limit: int) -> SearchReply:
        """The best of the newest `RANKED_MAX` hits by bm25, the newer of two that are as good."""
        with self._index.reading() as reader, _deadline(reader, self._timeout_s):
            self._learn(reader)
            plan, inside = self._plan(reader, query, who, upto, ranked=True)
            if plan is None:
                return SearchReply(hits=(), more=False, count=0, inside=inside)
            counted = plan.sql("docs.stream_seq", "ORDER BY :place DESC LIMIT :limit")
            found = _rows(reader, counted, {**plan.values, "limit": RANKED_MAX})
            if found:
                plan.values["lo"] = found[-1][0]
            score = "bm25(words, 1.0, 0.0)" if plan.match else "0.0"
            ranked = plan.sql(f"{_COLUMNS}, {score} AS score", "ORDER BY score, :place DESC LIMIT :limit")
            rows = _rows(reader, ranked, {**plan.values, "limit": limit})
        hits = tuple(self._hit(row, -row[3]) for row in rows)
        count = min(len(found), COUNT_MAX)
        return SearchReply(
            hits=hits, more=len(found) > limit, count=count, capped=len(found) > COUNT_MAX, inside=inside
        )

    def written(
        self, workspace: WorkspaceId, places: Sequence[tuple[ChannelId, Seq]]
    ) -> dict[tuple[ChannelId, Seq], Written]:
        """What is known of these messages; those that are deleted, or none, are missing."""
        found = {}
        with self._index.reading() as reader:
            self._learn(reader)
            for channel, seq in places:
                number = self._channels.get(workspace, {}).get(channel, -1)
                for author, at_ms, happened_ms, thread, text_seq in reader.execute(_WRITTEN, (number, seq)):
                    found[channel, seq] = Written(UserId(author), at_ms, happened_ms, thread, text_seq)
        return found

    def _learn(self, reader: apsw.Connection) -> None:
        """Channels that have been numbered since the last question."""
        query = "SELECT no, workspace, channel FROM channels WHERE no > ?"
        newest = next(reversed(self._ids)) if self._ids else 0
        for number, workspace, channel in reader.execute(query, (newest,)):
            self._channels.setdefault(workspace, {})[channel] = number
            self._ids[number] = channel

    def _plan(
        self, reader: apsw.Connection, query: Query, who: Reader, upto: StreamSeq, *, ranked: bool = False
    ) -> tuple[_Plan | None, tuple[Inside, ...]]:
        """None if nothing can be found; and what became of each `in:`."""
        numbers = self._channels.get(who.workspace, {})
        readable = {numbers[channel] for channel in who.readable if channel in numbers}
        named = [self._named(reader, it, who, readable) for it in query.channels]
        inside = tuple(
            Inside(offset=it.place.offset, length=it.place.length, known=bool(numbers_))
            for it, numbers_ in zip(query.channels, named, strict=True)
        )
        chosen = _either(query.channels, named)
        channels = readable if chosen is None else readable & chosen
        channels -= _none_of(query.channels, named)
        authors = [_authors(reader, it, who.user) for it in query.authors]
        writers = _either(query.authors, authors)
        if not channels or writers == set():
            return None, inside
        span = _span(reader, query, upto)
        if span is None:
            return None, inside
        groups = [[HOLDS[kind]] for kind, negative in query.has if kind in HOLDS and not negative]
        barred = [HOLDS[kind] for kind, negative in query.has if kind in HOLDS and negative]
        barred += [author_term(number) for number in sorted(_none_of(query.authors, authors))]
        if query.thread is not None:
            if query.thread:
                groups.append([THREAD])
            else:
                barred.append(THREAD)
        if writers is not None:
            groups.append([author_term(number) for number in sorted(writers)])
        plan = _Plan("", excluded(query.unwanted, barred), [], {"lo": span[0], "hi": span[1]})
        if len(channels) <= CHANNELS_AS_TERMS_MAX and not (ranked and query.wanted):
            groups.append([channel_term(number) for number in sorted(channels)])
        else:
            plan.clauses.append("docs.channel IN (SELECT value FROM carray(:channels))")
            plan.values["channels"] = apsw.carray(array.array("q", sorted(channels)))
        plan.match = expression(query.wanted, groups, query.unwanted, barred)
        _besides(plan, query)
        return plan, inside

    def _begin_below(self, reader: apsw.Connection, plan: _Plan, who: Reader, after: SearchPlace) -> None:
        """Go on behind a place. One that the reader may not know of any more is only a time."""
        number = self._channels.get(who.workspace, {}).get(after.channel, -1)
        place = reader.execute(
            "SELECT stream_seq FROM docs WHERE channel = ? AND seq = ?", (number, after.seq)
        )
        found = place.get if after.channel in who.readable else None
        if found is None:
            plan.clauses.append("docs.at_ms <= :at")
            plan.values["at"] = after.at_ms
        else:
            hi = plan.values["hi"]
            assert isinstance(hi, int)
            plan.values["hi"] = min(hi, int(found) - (not after.inclusive))

    def _named(self, reader: apsw.Connection, it: Named, who: Reader, readable: set[int]) -> set[int]:
        """Of the readable channels the one with this id, else those that have or had this name."""
        number = self._channels.get(who.workspace, {}).get(ChannelId(it.value))
        if number in readable:
            return {number}
        rows = _rows(reader, "SELECT channel FROM names WHERE folded = ?", (folded_name(it.value),))
        return {channel for (channel,) in rows} & readable

    def _hit(self, row: _Row, score: float | None = None) -> SearchHit:
        number, seq, at_ms = row[:3]
        return SearchHit(channel=self._ids[number], seq=Seq(seq), at_ms=at_ms, score=score)


@dataclass(frozen=True, slots=True)
class Reader:
    """Who asks, and the channels of this partition that they may read now."""

    workspace: WorkspaceId
    user: UserId
    readable: frozenset[ChannelId]


_COLUMNS = "docs.channel, docs.seq, docs.at_ms"
_WRITTEN = f"""
SELECT authors.author, at_ms, happened_ms, thread, coalesce(text_seq, seq)
FROM docs JOIN authors ON authors.no = docs.author
WHERE channel = ? AND seq = ? AND NOT flags & {DELETED}
"""  # noqa: S608


class _deadline:  # noqa: N801
    """Within it, SQLite is interrupted when time is up. Raises `Unavailable`."""

    def __init__(self, reader: apsw.Connection, timeout_s: float) -> None:
        until_s = time.monotonic() + timeout_s
        self._reader, self._timeout_s = reader, timeout_s
        reader.set_progress_handler(lambda: time.monotonic() > until_s, STEPS)

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._reader.set_progress_handler(None)
        if isinstance(error, apsw.InterruptError):
            raise Unavailable(
                f"the search took longer than {self._timeout_s:g} s: say more of what you look for",
                retry_after_ms=1000,
                limit="search_time",
            ) from error


def _rows(reader: apsw.Connection, sql: str, values: Values | Sequence[int | str]) -> list[_Row]:
    return reader.execute(sql, values).fetchall()


def _besides(plan: _Plan, query: Query) -> None:
    """What no term says."""
    happened = "coalesce(docs.happened_ms, docs.at_ms)"
    if query.since_us is not None:
        plan.clauses.append(f"{happened} >= :since")
        plan.values["since"] = -(-query.since_us // 1000)
    if query.until_us is not None:
        plan.clauses.append(f"{happened} < :until")
        plan.values["until"] = -(-query.until_us // 1000)
    for kind, negative in query.has:
        if kind == "reaction":
            plan.clauses.append(f"NOT docs.flags & {REACTED}" if negative else f"docs.flags & {REACTED}")


def _span(reader: apsw.Connection, query: Query, upto: StreamSeq) -> tuple[int, int] | None:
    """Between which places the messages of the query's time lie; None if there are none."""
    if query.since_us is None and query.until_us is None:
        return 0, upto
    first = -(2**60) if query.since_us is None else query.since_us // 1000 // HOUR_MS
    last = 2**60 if query.until_us is None else query.until_us // 1000 // HOUR_MS
    sql = "SELECT min(lo), max(hi) FROM hours WHERE hour BETWEEN ? AND ?"
    lo, hi = _rows(reader, sql, (first, last))[0]
    return None if lo is None else (lo, min(hi, upto))


def _authors(reader: apsw.Connection, it: Named, me: UserId) -> set[int]:
    """The user of this id; if there is none, those whose ids differ in case or accents only."""
    author = me if it.value == "me" else it.value
    exact = _rows(reader, "SELECT no FROM authors WHERE author = ?", (author,))
    like = _rows(reader, "SELECT no FROM authors WHERE folded = ?", (folded_name(author),))
    return {number for (number,) in exact or like}


def _either(named: Iterable[Named], found: Iterable[set[int]]) -> set[int] | None:
    """What any of them names, or None if none has to."""
    wanted = [numbers for it, numbers in zip(named, found, strict=True) if not it.negative]
    return set().union(*wanted) if wanted else None


def _none_of(named: Iterable[Named], found: Iterable[set[int]]) -> set[int]:
    return set().union(*(numbers for it, numbers in zip(named, found, strict=True) if it.negative))
