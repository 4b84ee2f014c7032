"""Asking the index. Newest first is the order of the log: FTS5 walks its lists back until a page is full.

Each question has a deadline. A ranking that meets it is made of the hits that were found by then: the newest.
"""

from __future__ import annotations

import contextlib
import heapq
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

import apsw

from archiver.core.query import Query
from archiver.search.index import SearchIndex
from archiver.search.plan import Plan, Readable, Reader, Row, plan_of, readable_of, rows_of
from archiver.search.ranking import FUNCTION, Ranking
from archiver.search.writing import DELETED
from shared.errors import Unavailable
from shared.ids import ChannelId, Seq, StreamSeq, UserId, WorkspaceId
from shared.search import COUNT_MAX, SearchHit, SearchPlace, SearchReply

RANKED_MAX = 5_000
"""Hits that are ranked: the newest so many."""

READERS_KEPT = 32
"""Readers whose channels are kept in numbers: 0.6 MB each, if they are 5,000."""

STEPS = 20_000
"""Of SQLite's machine, between two looks at the clock: about a millisecond."""


class Written(NamedTuple):
    """What the index knows of a message besides its words. Times are milliseconds."""

    author: UserId
    at_ms: int
    happened_ms: int | None
    thread: Seq | None
    text_seq: Seq
    """Of the event that its present text is from: the message's own, or the last edit's."""


class _Opened(NamedTuple):
    """A connection to ask with, and what it calls the channels of a workspace."""

    connection: apsw.Connection
    numbers: Mapping[ChannelId, int]


class _Counted(NamedTuple):
    """`ids` in the numbers that there were when the index had so many `channels`."""

    ids: frozenset[ChannelId]
    channels: int
    readable: Readable


class Finder:
    """The one of an index. All methods block: call them off the event loop."""

    def __init__(self, index: SearchIndex, timeout_s: float) -> None:
        self._index = index
        self._timeout_s = timeout_s
        self._generation = -1
        self._channels: dict[WorkspaceId, dict[ChannelId, int]] = {}
        self._ids: dict[int, ChannelId] = {}
        self._readers: OrderedDict[tuple[WorkspaceId, UserId], _Counted] = OrderedDict()
        self._ranking: Ranking

    def newest(
        self, query: Query, reader: Reader, upto: StreamSeq, limit: int, after: SearchPlace | None
    ) -> SearchReply:
        """The newest hits below `after`; on the first page they are counted, up to `COUNT_MAX`."""
        rows_max = limit + 1 if after is not None else max(limit, COUNT_MAX) + 1
        with self._opened(reader.workspace) as (connection, numbers), self._deadline(connection):
            plan = plan_of(connection, query, reader.user, self._readable(reader, numbers), numbers, upto)
            if plan.empty:
                return SearchReply(hits=(), more=False, count=0, inside=plan.inside)
            if after is not None:
                _begin_below(connection, plan, numbers, reader, after)
            found = rows_of(connection, plan.sql(), plan.values | {"limit": rows_max})
            hits = self._hits(connection, [(stream_seq, None) for (stream_seq,) in found[:limit]])
        return SearchReply(
            hits=hits,
            more=len(found) > limit,
            count=None if after is not None else min(len(found), COUNT_MAX),
            capped=after is None and len(found) > COUNT_MAX,
            inside=plan.inside,
        )

    def relevant(self, query: Query, reader: Reader, upto: StreamSeq, limit: int) -> SearchReply:
        """The best of the newest `RANKED_MAX` hits, the newer of two that are as good."""
        with self._opened(reader.workspace) as (connection, numbers):
            readable = self._readable(reader, numbers)
            with self._deadline(connection):
                plan = plan_of(connection, query, reader.user, readable, numbers, upto)
                if plan.empty:
                    return SearchReply(hits=(), more=False, count=0, inside=plan.inside)
                self._ranking.begin(query.wanted)
            found = self._scored(connection, plan, bool(query.wanted), limit)
            # Of equal ones `nlargest` keeps the first: the newest.
            best = heapq.nlargest(limit, found, key=itemgetter(1))
            hits = self._hits(connection, best)
        return SearchReply(
            hits=hits,
            more=len(found) > limit,
            count=min(len(found), COUNT_MAX),
            capped=len(found) > COUNT_MAX,
            inside=plan.inside,
        )

    def written(
        self, workspace: WorkspaceId, places: Sequence[tuple[ChannelId, Seq]]
    ) -> dict[tuple[ChannelId, Seq], Written]:
        """What is known of these messages; those that are deleted, or none, are missing."""
        found = {}
        with self._opened(workspace) as (connection, numbers):
            for channel, seq in places:
                for row in rows_of(connection, _WRITTEN, (numbers.get(channel, -1), seq)):
                    found[channel, seq] = Written(*row)
        return found

    def _readable(self, reader: Reader, numbers: Mapping[ChannelId, int]) -> Readable:
        """What the reader may read now, in numbers; those of the last readers are kept."""
        of = (reader.workspace, reader.user)
        kept = self._readers.get(of)
        if kept is None or kept.channels != len(numbers) or kept.ids != reader.readable:
            kept = _Counted(reader.readable, len(numbers), readable_of(reader.readable, numbers))
            self._readers[of] = kept
        self._readers.move_to_end(of)
        if len(self._readers) > READERS_KEPT:
            self._readers.popitem(last=False)
        return kept.readable

    def _scored(self, connection: apsw.Connection, plan: Plan, has_words: bool, limit: int) -> list[Row]:
        """Places and scores, newest first; as many as the time suffices for, if that is any.

        Without words all are as good, so none is better than the newest.
        """
        if has_words:
            score, rows_max = f"{FUNCTION}(words)", RANKED_MAX
        else:
            score, rows_max = "0.0", max(limit, COUNT_MAX) + 1
        found: list[Row] = []
        with self._deadline(connection) as unavailable:
            cursor = connection.execute(plan.sql(score), plan.values | {"limit": rows_max})
            try:
                found.extend(cursor)
            except apsw.InterruptError:
                if not found:
                    raise unavailable from None
        return found

    @contextlib.contextmanager
    def _opened(self, workspace: WorkspaceId) -> Iterator[_Opened]:
        with self._index.reading() as connection:
            if self._generation != self._index.generation:  # another file, whose numbers mean other channels
                self._generation = self._index.generation
                self._channels, self._ids = {}, {}
                self._readers.clear()
                self._ranking = Ranking(connection)
            newest = next(reversed(self._ids)) if self._ids else 0
            query = "SELECT no, workspace, channel FROM channels WHERE no > ? ORDER BY no"
            for number, its_workspace, channel in rows_of(connection, query, (newest,)):
                self._channels.setdefault(its_workspace, {})[channel] = number
                self._ids[number] = channel
            yield _Opened(connection, self._channels.get(workspace, {}))

    @contextlib.contextmanager
    def _deadline(self, connection: apsw.Connection) -> Iterator[Unavailable]:
        """Within it, SQLite is interrupted when time is up. Raises `Unavailable`."""
        until_s = time.monotonic() + self._timeout_s
        unavailable = Unavailable(
            f"the search took longer than {self._timeout_s:g} s: say more of what you look for",
            retry_after_ms=1000,
            limit="search_time",
        )
        connection.set_progress_handler(lambda: time.monotonic() > until_s, STEPS)
        try:
            yield unavailable
        except apsw.InterruptError:
            raise unavailable from None
        finally:
            connection.set_progress_handler(None)

    def _hits(self, connection: apsw.Connection, scored: Iterable[Row]) -> tuple[SearchHit, ...]:
        """From places and scores; what `words` has and `docs` has not, in a damaged file, is left out."""
        return tuple(
            SearchHit(channel=self._ids[number], seq=Seq(seq), at_ms=at_ms, score=score)
            for stream_seq, score in scored
            for number, seq, at_ms in rows_of(connection, _PLACED, (stream_seq,))
        )


_PLACED = "SELECT channel, seq, at_ms FROM docs WHERE stream_seq = ?"
_WRITTEN = f"""
SELECT authors.author, at_ms, happened_ms, thread, coalesce(text_seq, seq)
FROM docs JOIN authors ON authors.no = docs.author
WHERE channel = ? AND seq = ? AND NOT flags & {DELETED}
"""  # noqa: S608


def _begin_below(
    connection: apsw.Connection,
    plan: Plan,
    numbers: Mapping[ChannelId, int],
    reader: Reader,
    after: SearchPlace,
) -> None:
    """Go on behind a place. One that the reader may not know of any more is only a time."""
    sql = "SELECT stream_seq FROM docs WHERE channel = ? AND seq = ?"
    found = rows_of(connection, sql, (numbers.get(after.channel, -1), after.seq))
    if found and after.channel in reader.readable:
        plan.upto(found[0][0] - (not after.inclusive))
    else:
        plan.clauses.append("docs.at_ms <= :at")
        plan.values["at"] = after.at_ms
