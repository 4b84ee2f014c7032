"""An archiver over the simulated disk: the real `PartitionArchive`, and what the edges ask it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from archiver.core.compaction import due
from archiver.core.hot import NOTHING_YET, ChannelEvents, Head, HotEvent, key_of_subject
from archiver.core.manifest import Grace, check, covering
from archiver.core.page import page_of, span_of
from archiver.manifest_store import Fenced
from archiver.partition import PartitionArchive
from shared.archive_files import newest_manifest
from shared.archive_manifest import Manifest, partition_dir
from shared.archive_rows import Row, body_of
from shared.erasure import Erasure
from shared.errors import Unavailable
from shared.events import Recorded, decode
from shared.ids import ChannelKey, CommandId, Epoch, Seq, StreamSeq, UserId
from shared.records import (
    ArchivedHead,
    ArchivedHeads,
    ArchivedHeadsRequest,
    HistoryEvent,
    HistoryRequest,
    KnownId,
    known_of,
)
from tests.simulation.disk import Book, Disk, Place, read_rows, store_on
from tests.simulation.model import Truth, promise
from tests.simulation.puller import Pull
from tests.simulation.streams import PARTITION, Log
from tests.simulation.turns import strike, until


class Cache:
    """Stands in for `archiver.cache.Cache`; `test_simulation` compares the two."""

    def __init__(self, path: Place, _: Epoch, hi: StreamSeq, *_others: object) -> None:
        self._disk = path.disk
        if self.position > hi:
            self._disk.books.append(Book())
        self._claimed = self.position

    @property
    def book(self) -> Book:
        return self._disk.books[-1]

    @property
    def position(self) -> StreamSeq:
        return self.book.position

    def heads(self, keys: Iterable[ChannelKey]) -> dict[ChannelKey, Head]:
        if self.position > self._claimed:
            raise Fenced("another archiver has gone on")
        return {key: self.book.heads.get(key, NOTHING_YET) for key in keys}

    def greatest(self, key: ChannelKey) -> str:
        return self.book.heads.get(key, NOTHING_YET).greatest

    def known(self, key: ChannelKey, ids: Sequence[tuple[UserId, CommandId]]) -> list[KnownId | None]:
        return [self.book.ids.get((key, *name)) for name in ids]

    def record(self, lo: StreamSeq, hi: StreamSeq, channels: Iterable[ChannelEvents]) -> None:
        self._claimed = hi
        if self.position != lo - 1:
            raise Fenced(f"the cache is not at {lo - 1}")
        self._disk.changes("the cache")
        self._disk.books.append(self.book.with_events(hi, channels))

    def erasures(self, _: StreamSeq) -> tuple[list[Erasure], int]:
        return [], 0

    def join_runs(self, lo: StreamSeq, hi: StreamSeq) -> None:
        self._disk.changes("the cache")
        self._disk.books.append(self.book.with_joined_runs(lo, hi))


class Archiver:
    """One process: it becomes the writer, follows the log from the manifest's end, and commits."""

    def __init__(self, disk: Disk, log: Log, truths: dict[ChannelKey, Truth], epoch: Epoch) -> None:
        self._truths = truths
        self.archive = PartitionArchive(store_on(disk), cast(Path, Place(disk, "cache")), PARTITION, epoch)
        self.archive.open()
        self._pull = Pull(log, self.archive.hot.applied + 1)

    @property
    def hi(self) -> StreamSeq:
        """What it has committed, as it tells everybody."""
        return self.archive.manifest.hi

    @property
    def applied(self) -> StreamSeq:
        """How much of the log it has taken."""
        return self.archive.hot.applied

    def follow(self, how: int) -> None:
        """Number and fold what a request brings."""
        archive = self.archive
        for stored in self._pull.take(how):
            key = key_of_subject(stored.subject)
            for missing, head in archive.cache.heads(archive.hot.missing([key])).items():
                archive.hot.load(missing, head)
            archive.take([stored])
            at = archive.hot.between(key, Seq(1), archive.hot.head(key).seq)[-1].recorded  # type: ignore[union-attr]
            compare(self._truths[key], at.seq, at.stream_seq, at.event.id, at.void)

    def commit(self) -> None:
        """What is hot becomes a segment. Raises `Died`, `Fenced` or OSError, wherever it is then."""
        batch = self.archive.hot.cut()
        if batch.hi >= batch.lo:
            self.archive.committed(batch, self.archive.write(batch))

    def merge(self) -> None:
        """As the compactor does, when it is due."""
        while runs := due(self.archive.manifest.segments):
            outputs = self.archive.merge(runs, lambda: False)
            inputs = [part for run in runs for part in run.parts]
            self.archive.manifest = self.archive.publish_merge(inputs, outputs)
            strike("runs merged")

    def sweep(self, grace_s: float) -> None:
        """Remove what nobody reads any more."""
        grace_us = int(grace_s * 1e6)
        self.archive.manifest = self.archive.sweep(Grace(grace_us, grace_us))

    def page(self, key: ChannelKey, after: Seq, limit: int) -> tuple[list[Recorded], bool]:
        """As `archiver.history` answers, from hot events and from the files that the manifest names."""
        hot, cache = self.archive.hot, self.archive.cache
        head = hot.head(key) or cache.heads([key])[key]
        request = HistoryRequest(workspace=key.workspace, channel=key.channel, after=after, limit=limit)
        span = span_of(request, head.seq)
        if span.empty:
            return [], False
        tail = hot.between(key, span.first, span.last)
        cold_last = Seq(tail[0].recorded.seq - 1) if tail else span.last
        cold = self._cold(key, span.first, cold_last) if span.first <= cold_last else []
        page = page_of(span, [*map(_archived, cold), *map(_shown, tail)])
        events = [
            Recorded(key, event.seq, event.stream_seq, event.at_us, decode(event.body.encode()), event.void)
            for event in page.events
        ]
        return events, page.more

    def _cold(self, key: ChannelKey, low: Seq, high: Seq) -> list[Row]:
        book = cast(Cache, self.archive.cache).book
        runs = [run for run in book.runs if run[0] == key and run[1] <= high and run[2] >= low]
        stream = (min(run[3] for run in runs), max(run[4] for run in runs))
        files = covering(self.archive.manifest, key, (low, high), stream)
        rows = [row for part in files for row in read_rows(self.archive.files, part)]
        found = [row for row in rows if row[:2] == key and low <= row.seq <= high]
        return sorted(found, key=lambda row: row.seq)

    def known(
        self, key: ChannelKey, ids: Sequence[tuple[UserId, CommandId]]
    ) -> tuple[list[KnownId | None], str]:
        """As `archiver.api` answers `ids`."""
        hot, cache = self.archive.hot, self.archive.cache
        warm = [hot.known(key, author, command) for author, command in ids]
        head = hot.head(key)
        greatest = cache.greatest(key) if head is None else head.greatest
        return [
            c or (h and known_of(h.recorded)) for c, h in zip(cache.known(key, ids), warm, strict=True)
        ], greatest


class Archives:
    """What the edges ask: any of the archivers that run answers."""

    def __init__(self, running: Sequence[Archiver]) -> None:
        self._running = running
        self._turn = 0

    async def history(
        self, key: ChannelKey, *, after: Seq, limit: int, applied: StreamSeq
    ) -> tuple[list[Recorded], bool]:
        """The oldest events above `after`."""
        one = await self._one(applied)
        try:
            return one.page(key, after, limit)
        except Fenced as error:
            raise Unavailable("it is not the archiver any more") from error

    async def ids(
        self, key: ChannelKey, ids: Sequence[tuple[UserId, CommandId]], applied: StreamSeq
    ) -> tuple[list[KnownId | None], str]:
        """Where these ids stand, and the greatest of the channel."""
        return (await self._one(applied)).known(key, ids)

    def answer(self, subject: str, body: bytes) -> bytes:
        """As `archiver.api` answers `heads`."""
        if not subject.endswith(".heads") or not self._running:
            raise Unavailable("the archive is not there yet")
        one = self._running[0]
        after = ArchivedHeadsRequest.model_validate_json(body).after
        found = sorted(cast(Cache, one.archive.cache).book.heads.items())
        heads = tuple(
            ArchivedHead(**key._asdict(), seq=head.seq, stream_seq=head.stream_seq, state=head.state)
            for key, head in found
            if after is None or tuple(key) > after
        )
        strike("heads taken from the archive")
        reply = ArchivedHeads(
            epoch=one.archive.manifest.epoch, watermark=one.hi, heads=heads[:1], more=len(heads) > 1
        )
        return reply.model_dump_json().encode()

    async def _one(self, applied: StreamSeq) -> Archiver:
        await until()
        self._turn += 1
        one = self._running[self._turn % len(self._running)] if self._running else None
        if one is None or one.applied < applied:
            raise Unavailable("the archive is not there yet")
        return one


def prove(disk: Disk, truths: dict[ChannelKey, Truth]) -> Manifest | None:
    """What lies on the disk is the log up to the manifest's end: each event once, as the log has it."""
    files = store_on(disk).within(partition_dir(PARTITION))
    manifest = newest_manifest(files)
    if manifest is None:
        return None
    check(manifest)
    found: set[int] = set()
    for segment in manifest.segments:
        for row in read_rows(files, segment):
            promise(row.stream_seq not in found, f"{row.stream_seq} is archived twice")
            found.add(row.stream_seq)
            truth = truths[ChannelKey(*cast(ChannelKey, row[:2]))]
            compare(truth, row.seq, row.stream_seq, decode(body_of(row)).id, row.void)
    promise(len(found) == manifest.hi, f"{len(found)} events are archived, the manifest says {manifest.hi}")
    return manifest


def compare(truth: Truth, seq: int, stream_seq: int, id_: str, void: str | None) -> None:
    """The archive's idea of an event against the log's."""
    channel = truth.key.channel
    promise(seq <= len(truth.facts), f"the archive counts {channel}/{seq}")
    fact = truth.facts[seq - 1]
    promise(
        (stream_seq, id_, void) == (fact.stream_seq, fact.id, fact.void),
        f"archive: {channel}/{seq} at {stream_seq}; the log has it at {fact.stream_seq}",
    )


def _archived(row: Row) -> HistoryEvent:
    return HistoryEvent(
        seq=Seq(row.seq),
        stream_seq=StreamSeq(row.stream_seq),
        at_us=row.ts_us,
        body=body_of(row).decode(),
        void=row.void,
    )


def _shown(hot: HotEvent) -> HistoryEvent:
    at = hot.recorded
    return HistoryEvent(
        seq=at.seq, stream_seq=at.stream_seq, at_us=at.at_us, body=hot.body.decode(), void=at.void
    )
