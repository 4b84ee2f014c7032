"""History pages and counts: the hot tail where it covers, Parquet below it, one seamless answer.

Heads come from memory or the cache, and only after that the manifest and the hot events are read, in one
step: so every event up to the head is in exactly one of the two. What is older is asked from the files that
the manifest pinned in that step can hold it in; if they were replaced meanwhile, from the newest ones, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeVar

from archiver.columns import Ranges
from archiver.core.hot import Head, HotEvent
from archiver.core.manifest import covering
from archiver.core.page import Span, page_of, span_of
from archiver.core.segment import data_name
from archiver.duck import Duck, FilesGone, Rows
from archiver.partition import PartitionArchive
from archiver.segment_reader import Known, SegmentReader, Stretch
from archiver.threads import Threads
from shared.archive_manifest import Manifest, Segment
from shared.archive_rows import Row, body_of, body_text, recorded_of
from shared.erasure import Erasures
from shared.errors import Unavailable
from shared.events import Recorded
from shared.ids import ChannelKey, Seq, StreamSeq
from shared.records import HistoryEvent, HistoryPage, HistoryRequest

T = TypeVar("T")

HOLE_MAX = 1_000
"""Events of a channel that are looked for in the same files, if no more seqs lie between them."""

_RANGE_SQL = (
    "FROM read_parquet($files) WHERE workspace = $workspace AND channel = $channel"
    " AND seq BETWEEN $first AND $last"
)
_COUNT_SQL = f"SELECT count(*) {_RANGE_SQL} AND kind = 'message.posted' AND void IS NULL"


class History:
    """Reads one partition's archive."""

    def __init__(
        self,
        archive: PartitionArchive,
        duck: Duck,
        lookups: Threads,
        timeout_s: float,
        known: Known,
    ) -> None:
        self._archive = archive
        self._duck = duck
        self._lookups = lookups
        self._timeout_s = timeout_s
        self._segments = SegmentReader(archive.files, known)
        archive.listed = self._follow
        self._follow()

    async def page(self, request: HistoryRequest) -> HistoryPage:
        """The events that a request asks for, as of now; raises `Unavailable`."""
        key = ChannelKey(request.workspace, request.channel)
        head = await self._head(key)
        span = span_of(request, head.seq)
        if span.empty:
            return HistoryPage(events=(), more=False)
        archive = self._archive
        manifest, hot = archive.manifest, archive.hot.between(key, span.first, span.last)
        erasures = archive.erasures
        cold_last = hot[0].recorded.seq - 1 if hot else span.last
        page = partial(_page, key, span, hot, erasures)
        if span.first > cold_last:
            return await self._lookups.run(page, [])
        return await self._stored(key, [(span.first, Seq(cold_last))], manifest, page)

    async def events(self, key: ChannelKey, seqs: Sequence[Seq], manifest: Manifest) -> dict[Seq, Row]:
        """Archived events, wherever in the channel they are; raises `Unavailable`."""
        if not seqs:
            return {}
        wanted = sorted(seqs)
        return await self._stored(key, near(wanted), manifest, _by_seq, frozenset(wanted))

    async def count(self, key: ChannelKey, upto: Seq) -> int:
        """How many messages the channel holds up to a seq."""
        head = await self._head(key)
        if upto <= 0:
            return 0
        if upto >= head.seq:
            return head.messages
        manifest, floor = self._archive.manifest, self._archive.hot.floor(key)
        if floor is not None and upto >= floor:
            return self._archive.hot.between(key, upto, upto)[0].messages
        return await self._count_cold(key, upto, head, floor, manifest)

    async def _count_cold(
        self, key: ChannelKey, upto: Seq, head: Head, floor: Seq | None, manifest: Manifest
    ) -> int:
        """From whichever end of the Parquet files is nearer."""
        if floor is None:
            last, total = head.seq, head.messages
        else:
            first_hot = self._archive.hot.between(key, floor, floor)[0]
            last, total = Seq(floor - 1), first_hot.messages - _is_message(first_hot)
        if upto == last:
            return total
        if upto <= last - upto:
            return _number(await self._cold(_COUNT_SQL, key, [(Seq(1), upto)], manifest))
        return total - _number(await self._cold(_COUNT_SQL, key, [(Seq(upto + 1), last)], manifest))

    async def _head(self, key: ChannelKey) -> Head:
        head = self._archive.hot.head(key)
        if head is None:
            found = await self._lookups.run_together(self._archive.cache.heads, (key,))
            head = self._archive.hot.head(key) or found[key]
        return head

    async def _stored(
        self,
        key: ChannelKey,
        ranges: Ranges,
        manifest: Manifest,
        made: Callable[[list[Row]], T],
        wanted: frozenset[Seq] | None = None,
    ) -> T:
        """What is made of the events of these ascending ranges, or of those of them that are wanted.

        They are read from the segments themselves, and it is made by the thread that reads them.
        """

        def read(pinned: Manifest) -> T:
            stretches = [Stretch(self._covering(pinned, key, *both), *both) for both in ranges]
            return made(self._segments.rows(key, stretches, wanted))

        for pinned in (manifest, None):
            try:
                reading = partial(read, pinned or self._archive.manifest)
                return await self._duck.read(reading, timeout_s=self._timeout_s)
            except FilesGone as error:
                gone = error
        raise Unavailable(f"archive files are missing: {gone}", retry_after_ms=1000) from gone

    def _follow(self) -> None:
        self._segments.read_ahead(self._segments.follow(self._archive.manifest))

    async def _cold(self, sql: str, key: ChannelKey, ranges: Ranges, manifest: Manifest) -> Rows:
        """Run a query over the files that can hold the events of these ranges."""
        for pinned in (manifest, None):
            files = await self._lookups.run(self._files, pinned or self._archive.manifest, key, ranges)
            parameters = {"files": files, **key._asdict(), "first": ranges[0][0], "last": ranges[-1][1]}
            try:
                return await self._duck.rows(sql, parameters, timeout_s=self._timeout_s)
            except FilesGone as error:
                gone = error
        raise Unavailable(f"archive files are missing: {gone}", retry_after_ms=1000) from gone

    def _files(self, manifest: Manifest, key: ChannelKey, ranges: Ranges) -> list[str]:
        found: dict[str, None] = {}
        for first, last in ranges:
            found |= dict.fromkeys(it.path for it in self._covering(manifest, key, first, last))
        root = self._archive.files.location
        return [f"{root}/{data_name(path)}" for path in found]

    def _covering(self, manifest: Manifest, key: ChannelKey, first: Seq, last: Seq) -> list[Segment]:
        stream = self._archive.cache.stream_span(key, first, last)
        assert stream is not None, f"{key} {first}..{last} is archived, but the cache has no run of it"
        return covering(manifest, key, (first, last), stream)


def near(seqs: Sequence[Seq]) -> Ranges:
    """Ranges that hold these ascending seqs, with no hole of more than `HOLE_MAX` in any."""
    starts = [0, *(at for at in range(1, len(seqs)) if seqs[at] - seqs[at - 1] > HOLE_MAX), len(seqs)]
    return [(seqs[start], seqs[end - 1]) for start, end in pairwise(starts)]


def _by_seq(stored: list[Row]) -> dict[Seq, Row]:
    return {Seq(row.seq): row for row in stored}


def _page(
    key: ChannelKey, span: Span, hot: Sequence[HotEvent], erasures: Erasures, stored: list[Row]
) -> HistoryPage:
    if key in erasures:
        cold = [_event(*erasures.shown(recorded_of(row), body_of(row))) for row in stored]
    else:
        cold = [_from_row(row) for row in stored]
    return page_of(span, cold + [_event(*erasures.shown(one.recorded, one.body)) for one in hot])


def _from_row(row: Row) -> HistoryEvent:
    return HistoryEvent(
        seq=Seq(row.seq),
        stream_seq=StreamSeq(row.stream_seq),
        at_us=row.ts_us,
        body=body_text(body_of(row)),
        void=row.void,
    )


def _event(recorded: Recorded, body: bytes) -> HistoryEvent:
    return HistoryEvent(
        seq=recorded.seq,
        stream_seq=recorded.stream_seq,
        at_us=recorded.at_us,
        body=body_text(body),
        void=recorded.void,
    )


def _is_message(hot: HotEvent) -> bool:
    return hot.recorded.event.kind == "message.posted" and hot.recorded.void is None


def _number(rows: Rows) -> int:
    value = rows[0][0]
    assert isinstance(value, int)
    return value
