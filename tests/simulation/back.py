"""The services behind the edges, over the same log: a sequencer and an archiver that crash anywhere."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import cast

from archiver.core.hot import NOTHING_YET, Batch, Head, Hot, HotEvent, key_of_subject
from archiver.core.manifest import check, claimed, covering, extended, first, ranges
from archiver.core.page import page_of, span_of
from archiver.core.segment import SegmentRange, describe, segment_name
from archiver.partition import PartitionArchive
from sequencer.core.belongings import entries
from sequencer.core.ledger import BEFORE_ALL, Change, Ledger
from shared.archive_manifest import Manifest
from shared.archive_rows import Row, body_of, row_of
from shared.bus import Bus as RealBus
from shared.envelope import Message, StoredMessage
from shared.errors import Unavailable
from shared.events import Recorded, decode
from shared.ids import ChannelKey, Epoch, Seq, StreamSeq
from shared.puller import Follower
from shared.records import Belonging, Checkpoint, HistoryEvent, HistoryRequest
from shared.records import Head as Announced
from tests.simulation.bus import PARTITION, Log
from tests.simulation.model import Truth, promise
from tests.simulation.turns import until


class Pull:
    """A real follower, whose consumer loses, doubles and reorders what it sends."""

    def __init__(self, log: Log, start: int) -> None:
        self._log = log
        self._follower = Follower(cast(RealBus, None), "LOG_0", StreamSeq(start))
        self._sent = start - 1

    def take(self, how: int) -> list[StoredMessage]:
        """What one request brings; after a hole the consumer starts again at the last proven position."""
        follower = self._follower
        if follower._broken:
            follower._broken, self._sent = False, follower.position
        messages = self._log.stored[self._sent : self._sent + 1 + how % 7]
        self._sent += len(messages)
        fate = how // 7 % 8
        if fate == 1 and messages:
            messages.pop(len(messages) // 2)
        elif fate == 2:
            messages = [*messages, *messages[-2:]]
        elif fate == 3:
            messages.reverse()
        for stored in messages:
            reply = f"$JS.ACK.LOG_0.c.1.{stored.stream_seq}.1.{stored.at_us * 1000}.0"
            follower._receive(Message(stored.subject, stored.body, {}, reply))
        if not messages and how % 3 == 0:
            follower._break()  # it fell silent
        found = list(follower._buffer)
        follower._buffer.clear()
        return found


@dataclass
class Bucket:
    """CHECKPOINTS: a value is never replaced by an older one."""

    position: StreamSeq = BEFORE_ALL
    at_us: int = 0
    checkpoints: dict[ChannelKey, Checkpoint] = field(default_factory=dict)

    def copy(self) -> Bucket:
        return dataclasses.replace(self, checkpoints=dict(self.checkpoints))


class Sequencer:
    """A ledger, its bucket, and what it tells."""

    def __init__(self, log: Log, truths: dict[ChannelKey, Truth]) -> None:
        self._log = log
        self._truths = truths
        self.bucket = Bucket()
        self._backups = [self.bucket.copy()]
        self.directory: dict[tuple[ChannelKey, str], Belonging] = {}
        self.news: list[tuple[ChannelKey, str, Belonging]] = []
        self.heads: list[Announced] = []
        self._begin(self.bucket)

    def _begin(self, bucket: Bucket) -> None:
        self.ledger = Ledger(
            PARTITION, 1, position=bucket.position, at_us=bucket.at_us, checkpoints=bucket.checkpoints.items()
        )
        self._pull = Pull(self._log, self.ledger.position + 1)

    def crash(self, which: int) -> None:
        """Start again, from the bucket or from an older copy of it."""
        usable = [old for old in [*self._backups, self.bucket] if old.position + 1 >= self._log.floor]
        self.bucket = usable[-1 - which % min(3, len(usable))].copy()
        self._begin(self.bucket)

    def follow(self, how: int) -> None:
        """Fold what a request brings."""
        for change in self.ledger.fold(self._pull.take(how)):
            self._compare(change)
            for entry in entries(change):
                if entry.user is not None and isinstance(entry.record, Belonging):
                    self._list(entry.channel, entry.user, entry.record)
        self.heads += self.ledger.take_unannounced()

    def _list(self, key: ChannelKey, user: str, belonging: Belonging) -> None:
        old = self.directory.get((key, user))
        if old is None or old.stream_seq < belonging.stream_seq:
            self.directory[key, user] = belonging
            self.news.append((key, user, belonging))

    def _compare(self, change: Change) -> None:
        at = change.recorded
        facts = self._truths[at.key].facts
        promise(at.seq <= len(facts), f"the ledger counts {at.key.channel}/{at.seq}")
        fact = facts[at.seq - 1]
        said = (at.stream_seq, at.event.id, at.void, change.state)
        promise(
            said == (fact.stream_seq, fact.id, fact.void, fact.state),
            f"ledger: {at.key.channel}/{at.seq} at {at.stream_seq}; the log has it at {fact.stream_seq}",
        )

    def save(self, how: int) -> None:
        """A round of checkpoints; it may die before the position, or in the middle."""
        unsaved = self.ledger.take_unsaved()
        written = unsaved.checkpoints if how % 4 else unsaved.checkpoints[: how // 4 % 3]
        for key, checkpoint in written:
            old = self.bucket.checkpoints.get(key)
            if old is None or old.stream_seq < checkpoint.stream_seq:
                self.bucket.checkpoints[key] = checkpoint
        if how % 4:
            self.bucket.position, self.bucket.at_us = unsaved.position, unsaved.at_us
            self._backups = [*self._backups[-4:], self.bucket.copy()]
        else:
            self.ledger.unsave(unsaved)


class Archiver:
    """Hot events, segments, manifests and the cache, in the order of `PartitionArchive`."""

    def __init__(self, log: Log, truths: dict[ChannelKey, Truth], epoch: Epoch) -> None:
        self._log = log
        self._truths = truths
        self._data: dict[str, list[Row]] = {}
        self._published: list[Manifest] = [first(PARTITION, epoch, "w0", 0)]
        self._cache: dict[ChannelKey, Head] = {}
        self._cached = StreamSeq(0)
        self._runs: list[tuple[ChannelKey, Seq, Seq, StreamSeq, StreamSeq]] = []
        self._starts = 0
        self.is_away = False
        self.restart()

    def restart(self) -> None:
        """Become the writer, bring the cache up to the manifest, follow from there."""
        self._starts += 1
        check(self._published[-1])
        self.manifest = claimed(self._published[-1], f"w{self._starts}", 0)
        self._published.append(self.manifest)
        for _, parts in ranges(self.manifest.segments):
            self._recount([row for part in parts for row in self._data[part.path]], parts[0].hi)
        self.hot = Hot(self.manifest.hi)
        self._pull = Pull(self._log, self.hot.applied + 1)
        self.is_away = False

    def _recount(self, rows: list[Row], hi: StreamSeq) -> None:
        if hi <= self._cached:
            return
        fresh = Hot(self._cached)
        for row in sorted(rows, key=lambda row: row.stream_seq):
            key = ChannelKey(*cast(ChannelKey, row[:2]))
            fresh.load(key, self._cache.get(key, NOTHING_YET))
            hot = fresh.add(key, StreamSeq(row.stream_seq), row.ts_us, body_of(row))
            promise(hot.recorded.seq == row.seq, f"{row.seq} is archived, {hot.recorded.seq} counted")
        self._record(fresh.cut())

    def follow(self, how: int) -> None:
        """Number and fold what a request brings."""
        if self.is_away:
            return
        for stored in self._pull.take(how):
            key = key_of_subject(stored.subject)
            for missing in self.hot.missing([key]):
                self.hot.load(missing, self._cache.get(missing, NOTHING_YET))
            hot = self.hot.add(key, stored.stream_seq, stored.at_us, stored.body)
            self._compare(hot.recorded)

    def _compare(self, at: Recorded) -> None:
        facts = self._truths[at.key].facts
        promise(at.seq <= len(facts), f"the archive counts {at.key.channel}/{at.seq}")
        fact = facts[at.seq - 1]
        promise(
            (at.stream_seq, at.event.id, at.void) == (fact.stream_seq, fact.id, fact.void),
            f"archive: {at.key.channel}/{at.seq} at {at.stream_seq}; the log has it at {fact.stream_seq}",
        )

    async def commit(self) -> None:
        """Segment, manifest, cache, memory; it may die wherever it waits."""
        batch = self.hot.cut()
        if batch.hi < batch.lo:
            return
        rows = [row_of(hot.recorded, hot.body) for _, _, events in batch.channels for hot in events]
        where = SegmentRange(batch.lo, batch.hi, 0, 0)
        name = segment_name(where, f"{self._starts:08x}")
        await until()
        self._data[name] = rows
        await until()
        manifest = extended(self.manifest, describe(rows, where, name, 1, ""), f"w{self._starts}", 0)
        promise(manifest.version == self._published[-1].version + 1, "two writers")
        self._published.append(manifest)
        await until()
        self._record(batch)
        await until()
        PartitionArchive.committed(cast(PartitionArchive, self), batch, manifest)

    def _record(self, batch: Batch) -> None:
        promise(self._cached == batch.lo - 1, f"cache at {self._cached}, batch from {batch.lo}")
        self._cached = batch.hi
        for key, head, events in batch.channels:
            self._cache[key] = head
            low, high = events[0].recorded, events[-1].recorded
            self._runs.append((key, low.seq, high.seq, low.stream_seq, high.stream_seq))

    async def history(
        self, key: ChannelKey, *, after: Seq, limit: int, applied: StreamSeq
    ) -> tuple[list[Recorded], bool]:
        """The oldest events above `after`, as the edge asks for them."""
        await until()
        if self.is_away or self.hot.applied < applied:
            raise Unavailable("the archive is not there yet")
        head = self.hot.head(key) or self._cache.get(key, NOTHING_YET)
        request = HistoryRequest(workspace=key.workspace, channel=key.channel, after=after, limit=limit)
        span = span_of(request, head.seq)
        if span.empty:
            return [], False
        hot = self.hot.between(key, span.first, span.last)
        cold_last = Seq(hot[0].recorded.seq - 1) if hot else span.last
        cold = self._cold(key, span.first, cold_last) if span.first <= cold_last else []
        page = page_of(span, [*cold, *map(_shown, hot)])
        events = [
            Recorded(key, event.seq, event.stream_seq, event.at_us, decode(event.body.encode()), event.void)
            for event in page.events
        ]
        return events, page.more

    def _cold(self, key: ChannelKey, low: Seq, high: Seq) -> list[HistoryEvent]:
        runs = [run for run in self._runs if run[0] == key and run[1] <= high and run[2] >= low]
        stream = (min(run[3] for run in runs), max(run[4] for run in runs))
        files = covering(self.manifest, key, (low, high), stream)
        rows = [row for part in files for row in self._data[part.path] if row[:2] == key]
        found = sorted((row for row in rows if low <= row.seq <= high), key=lambda row: row.seq)
        return [
            HistoryEvent(
                seq=Seq(row.seq),
                stream_seq=StreamSeq(row.stream_seq),
                at_us=row.ts_us,
                body=body_of(row).decode(),
                void=row.void,
            )
            for row in found
        ]


def _shown(hot: HotEvent) -> HistoryEvent:
    at = hot.recorded
    return HistoryEvent(
        seq=at.seq, stream_seq=at.stream_seq, at_us=at.at_us, body=hot.body.decode(), void=at.void
    )
