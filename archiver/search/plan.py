"""From a query, and what its reader may read, to one statement over the index.

Few channels are looked for as terms, many are looked up for each hit: a common word in three quiet channels
would walk its list for ever, and an OR over thousands costs more than it saves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import apsw

from archiver.core.match import HOLDS, THREAD, author_term, channel_term, excluded, expression
from archiver.core.query import Named, Query
from archiver.search.writing import DELETED, HOUR_MS, REACTED, folded_name
from shared.ids import ChannelId, StreamSeq, UserId, WorkspaceId
from shared.search import Inside

CHANNELS_AS_TERMS_MAX = 200

Row: TypeAlias = tuple[Any, ...]
Values: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reader:
    """Who asks, and the channels of this partition that they may read now."""

    workspace: WorkspaceId
    user: UserId
    readable: frozenset[ChannelId]


class Readable(NamedTuple):
    """What a reader may read, in the index's numbers; `marks` has a byte for each channel, 1 for these."""

    numbers: frozenset[int]
    marks: bytes


@dataclass(slots=True)
class Plan:
    """A statement in the making: what FTS5 looks for, and what each hit is asked besides.

    Messages lie between `lo` and `hi`. `inside`: what became of each `in:`. Nothing can be found if `empty`.
    """

    inside: tuple[Inside, ...]
    empty: bool = True
    match: str = ""
    barred: str = ""
    clauses: list[str] = field(default_factory=list)
    values: Values = field(default_factory=dict)

    def sql(self, score: str = "") -> str:
        """The places and scores of the newest so many; `values` and `limit` are the parameters.

        What is in `words` is in `docs`, and not deleted: who asks nothing of that does not go there.
        """
        clauses = list(self.clauses)
        if self.match:
            source = "words CROSS JOIN docs ON docs.stream_seq = words.rowid" if clauses else "words"
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
        where = " AND ".join([*clauses, f"{place} BETWEEN :lo AND :hi"])
        columns = f"{place}, {score}" if score else place
        return f"SELECT {columns} FROM {source} WHERE {where} ORDER BY {place} DESC LIMIT :limit"  # noqa: S608

    def upto(self, stream_seq: int) -> None:
        """Nothing behind this place."""
        self.values["hi"] = min(self.values["hi"], stream_seq)


def plan_of(
    connection: apsw.Connection,
    query: Query,
    user: UserId,
    readable: Readable,
    numbers: Mapping[ChannelId, int],
    upto: StreamSeq,
) -> Plan:
    """How to find what the query means; `numbers` are those of the workspace's channels in the index."""
    named = [_named(connection, it, numbers, readable.numbers) for it in query.channels]
    plan = Plan(tuple(map(_inside, query.channels, named)))
    chosen = _either(query.channels, named)
    channels = readable.numbers if chosen is None else readable.numbers & chosen
    if left_out := _none_of(query.channels, named):
        channels -= left_out
    authors = [_authors(connection, it, user) for it in query.authors]
    writers = _either(query.authors, authors)
    span = _span(connection, query, upto)
    if not channels or writers == set() or span is None:
        return plan
    plan.empty = False
    plan.values = {"lo": span[0], "hi": span[1]}
    groups = [[HOLDS[kind]] for kind, negative in query.has if kind in HOLDS and not negative]
    barred = [HOLDS[kind] for kind, negative in query.has if kind in HOLDS and negative]
    barred += [author_term(number) for number in sorted(_none_of(query.authors, authors))]
    if query.thread is True:
        groups.append([THREAD])
    elif query.thread is False:
        barred.append(THREAD)
    if writers is not None:
        groups.append([author_term(number) for number in sorted(writers)])
    if len(channels) <= CHANNELS_AS_TERMS_MAX:
        groups.append([channel_term(number) for number in sorted(channels)])
    else:
        plan.clauses.append("substr(:marks, docs.channel, 1) = x'01'")
        plan.values["marks"] = readable.marks if len(channels) == len(readable.numbers) else _marks(channels)
    plan.match = expression(query.wanted, groups, query.unwanted, barred)
    plan.barred = excluded(query.unwanted, barred)
    _besides(plan, query)
    return plan


def readable_of(readable: Iterable[ChannelId], numbers: Mapping[ChannelId, int]) -> Readable:
    """In numbers; channels that the index has never met are left out."""
    known = frozenset(number for number in map(numbers.get, readable) if number is not None)
    return Readable(known, _marks(known))


def _marks(channels: Collection[int]) -> bytes:
    """The first byte is that of channel 1, which is how SQLite counts, too."""
    marks = bytearray(max(channels, default=0))
    for number in channels:
        marks[number - 1] = 1
    return bytes(marks)


def _inside(it: Named, found: set[int]) -> Inside:
    return Inside(offset=it.place.offset, length=it.place.length, known=bool(found))


def _named(
    connection: apsw.Connection, it: Named, numbers: Mapping[ChannelId, int], readable: frozenset[int]
) -> set[int]:
    """Of the readable channels the one with this id, else those that have or had this name."""
    number = numbers.get(ChannelId(it.value))
    if number in readable:
        return {number}
    rows = rows_of(connection, "SELECT channel FROM names WHERE folded = ?", (folded_name(it.value),))
    return {channel for (channel,) in rows} & readable


def rows_of(connection: apsw.Connection, sql: str, values: Values | tuple[int | str, ...]) -> list[Row]:
    """All rows of a statement."""
    return connection.execute(sql, values).fetchall()


def _besides(plan: Plan, query: Query) -> None:
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


def _span(connection: apsw.Connection, query: Query, upto: StreamSeq) -> tuple[int, int] | None:
    """Between which places the messages of the query's time lie; None if there are none."""
    if query.since_us is None and query.until_us is None:
        return 0, upto
    first = -(2**60) if query.since_us is None else query.since_us // 1000 // HOUR_MS
    last = 2**60 if query.until_us is None else query.until_us // 1000 // HOUR_MS
    sql = "SELECT min(lo), max(hi) FROM hours WHERE hour BETWEEN ? AND ?"
    lo, hi = rows_of(connection, sql, (first, last))[0]
    return None if lo is None else (lo, min(hi, upto))


def _authors(connection: apsw.Connection, it: Named, me: UserId) -> set[int]:
    """The user of this id; if there is none, those whose ids differ in case or accents only."""
    author = me if it.value == "me" else it.value
    exact = rows_of(connection, "SELECT no FROM authors WHERE author = ?", (author,))
    like = rows_of(connection, "SELECT no FROM authors WHERE folded = ?", (folded_name(author),))
    return {number for (number,) in exact or like}


def _either(named: Iterable[Named], found: Iterable[set[int]]) -> set[int] | None:
    """What any of them names, or None if none has to."""
    wanted = [numbers for it, numbers in zip(named, found, strict=True) if not it.negative]
    return set().union(*wanted) if wanted else None


def _none_of(named: Iterable[Named], found: Iterable[set[int]]) -> set[int]:
    return set().union(*(numbers for it, numbers in zip(named, found, strict=True) if it.negative))
