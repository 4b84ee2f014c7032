"""From an event to its number: durable, once for ever, and judged by the log.

Three paths lead to a commit (ARCHITECTURE.md, "Idempotent for ever"):

* fresh: the id's own time is within half the duplicate window of ours. JetStream's window decides; a
  duplicate's stored body is compared.
* late: the id is older. The archiver says whether it knows the id up to our head; if not, the event is
  published on the condition that the head has not moved, so nothing can slip in between (`LateLane`).
* create: the first event of a channel, on the condition that there is none.

Whatever path, the answer is given only when our own feed has the event: then it has its number and verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from edge import metrics
from edge.archive import Archive
from edge.core.ring import Entry
from edge.feed import Feed
from edge.feeds import Feeds
from edge.late_lane import LateLane
from shared import telemetry
from shared.bus import Bus, PubAck
from shared.clock import now_us, rfc3339
from shared.errors import (
    ClockSkew,
    Conflict,
    Forbidden,
    OutcomeUnknown,
    ParleyError,
    Unavailable,
    WrongLastSequence,
)
from shared.events import ChannelCreated, KnownEvent, decode, encode, fingerprint
from shared.ids import ChannelKey, Seq, StreamSeq, command_time_ms
from shared.records import KnownId
from shared.streams import DUPLICATE_WINDOW_S
from shared.subjects import channel_subject, log_stream, message_id, partition_of

FRESH_MS = DUPLICATE_WINDOW_S * 1000 // 2
SETTLE_DEADLINE_S = 10.0
LANES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Recording:
    """Where an event stands: its number, the log's time in microseconds, whether it stood there before."""

    seq: Seq
    at_us: int
    duplicate: bool


class Publisher:
    """One per edge. Callers keep a session's order (P13); late ids of a channel are kept in order here."""

    def __init__(self, bus: Bus, feeds: Feeds, archive: Archive, partitions: int) -> None:
        self._bus = bus
        self._feeds = feeds
        self._archive = archive
        self._partitions = partitions
        self._lanes: dict[ChannelKey, LateLane] = {}

    def is_late(self, event: KnownEvent) -> bool:
        """Whether the id is too old for the duplicate window; late ids may be handed over many at once."""
        return command_time_ms(event.id) < now_us() // 1000 - FRESH_MS

    async def record(self, feed: Feed, event: KnownEvent) -> Recording:
        """Make the event durable and return its place.

        Raises `Conflict`, `ClockSkew`, `Forbidden` (recorded, but void), `Unavailable` (not recorded) or
        `OutcomeUnknown` (try again under the same id).
        """
        path: Literal["fresh", "late"] = "late" if self.is_late(event) else "fresh"
        if command_time_ms(event.id) > now_us() // 1000 + FRESH_MS:
            raise ClockSkew(f"the id is from the future; server time is {rfc3339(now_us())}")
        with telemetry.span("edge.record", attributes={"parley.path": path}):
            try:
                recording = await (self._late(feed, event) if path == "late" else self._fresh(feed, event))
            except ParleyError as error:
                metrics.commits(path, error.code).inc()
                raise
        metrics.commits(path, "duplicate" if recording.duplicate else "recorded").inc()
        return recording

    async def create(self, key: ChannelKey, event: ChannelCreated) -> tuple[Feed, Recording]:
        """Record the first event of a channel. The same creation again returns the first one.

        Raises `Conflict` if another creation stands there, else what `record` raises.
        """
        if command_time_ms(event.id) > now_us() // 1000 + FRESH_MS:
            raise ClockSkew(f"the id is from the future; server time is {rfc3339(now_us())}")
        partition = partition_of(key, self._partitions)
        duplicate = False
        try:
            ack = await self._bus.commit(
                channel_subject(partition, key),
                encode(event),
                msg_id=message_id(key, event.author, event.id),
                expect_last=StreamSeq(0),
                headers=_trace_headers(),
            )
            duplicate = ack.duplicate and not ack.retried
        except WrongLastSequence:
            duplicate = True
        feed = (await self._feeds.activate([key]))[key]
        if feed is None:
            raise OutcomeUnknown("created, but the log cannot be read yet", retry_after_ms=1000)
        at_us = await self._same_creation(feed, event)
        return feed, Recording(Seq(1), at_us, duplicate)

    async def _same_creation(self, feed: Feed, event: ChannelCreated) -> int:
        """The time of the channel's first event, if that is this creation; raises `Conflict` if not.

        A direct channel belongs to its members, whoever of them opens it first.
        """
        first = feed.ring.get(Seq(1))
        if first is not None:
            found, at_us = first.recorded.event, first.recorded.at_us
        else:
            page, _ = await self._archive.history(feed.key, after=Seq(0), limit=1, applied=StreamSeq(0))
            if not page:
                raise Unavailable(
                    "the archive does not hold the channel's beginning yet", retry_after_ms=1000
                )
            found, at_us = page[0].event, page[0].at_us
        same = fingerprint(found) == fingerprint(event)
        shared = event.channel_kind == "direct" and event.author in feed.state.members
        if not same and not shared:
            raise Conflict(f"channel {feed.key.channel} exists already")
        return at_us

    async def _fresh(self, feed: Feed, event: KnownEvent) -> Recording:
        ack = await self._commit(feed, event, None)
        entry = await feed.settled(ack.stream_seq, SETTLE_DEADLINE_S)
        duplicate = ack.duplicate and not ack.retried
        if entry is None:  # a burst has pushed it out of the ring, or it was there long ago
            recording = await self._older_than_ring(feed, event, ack)
            return replace(recording, duplicate=duplicate)
        if not ack.duplicate:
            return _verdict(entry, duplicate=False)
        return self._same_body(entry, event, duplicate=duplicate)

    def _same_body(self, entry: Entry, event: KnownEvent, *, duplicate: bool) -> Recording:
        if fingerprint(entry.recorded.event) != fingerprint(event):
            raise Conflict("this id is recorded with another body")
        return _verdict(entry, duplicate=duplicate)

    async def _older_than_ring(self, feed: Feed, event: KnownEvent, ack: PubAck) -> Recording:
        """A duplicate whose original has left the ring: the body is in the log, the number in the archive."""
        stored = await self._bus.stored(log_stream(feed.partition), ack.stream_seq)
        if stored is not None and fingerprint(decode(stored.body)) != fingerprint(event):
            raise Conflict("this id is recorded with another body")
        known = (await self._archive.ids(feed.key, [(event.author, event.id)], ack.stream_seq))[0]
        if known is None:
            raise Unavailable("the archive does not know this id yet", retry_after_ms=1000)
        return known_recording(known, event)

    async def _late(self, feed: Feed, event: KnownEvent) -> Recording:
        lane = self._lanes.get(feed.key)
        if lane is None or lane.feed is not feed:
            if len(self._lanes) >= LANES_MAX:
                self._lanes = {key: busy for key, busy in self._lanes.items() if busy.busy}
            lane = self._lanes[feed.key] = LateLane(
                feed, self._archive, self._commit, self._commit_together, self._feeds.spawn
            )
        outcome = await lane.submit(event)
        if isinstance(outcome, KnownId):
            return known_recording(outcome, event)
        entry = await feed.settled(outcome.stream_seq, SETTLE_DEADLINE_S)
        duplicate = outcome.duplicate and not outcome.retried
        if entry is None:  # a large batch has pushed it out of the ring already
            recording = await self._older_than_ring(feed, event, outcome)
            return replace(recording, duplicate=duplicate)
        return _verdict(entry, duplicate=duplicate)

    async def _commit_together(
        self, feed: Feed, events: Sequence[KnownEvent], expect_last: StreamSeq
    ) -> list[StreamSeq]:
        return await self._bus.commit_together(
            channel_subject(feed.partition, feed.key),
            [(encode(event), message_id(feed.key, event.author, event.id)) for event in events],
            expect_last=expect_last,
            headers=_trace_headers(),
        )

    async def _commit(self, feed: Feed, event: KnownEvent, expect_last: StreamSeq | None) -> PubAck:
        return await self._bus.commit(
            channel_subject(feed.partition, feed.key),
            encode(event),
            msg_id=message_id(feed.key, event.author, event.id),
            expect_last=expect_last,
            headers=_trace_headers(),
        )


def _trace_headers() -> dict[str, str]:
    headers: dict[str, str] = {}
    telemetry.inject(headers)
    return headers


def known_recording(known: KnownId, event: KnownEvent) -> Recording:
    """The answer for an id that is already in the log."""
    if known.fingerprint != fingerprint(event):
        raise Conflict("this id is recorded with another body")
    if known.void is not None:
        raise Forbidden(known.void)
    return Recording(known.seq, known.at_us, duplicate=True)


def _verdict(entry: Entry, *, duplicate: bool) -> Recording:
    if entry.recorded.void is not None:
        raise Forbidden(entry.recorded.void)
    return Recording(entry.seq, entry.recorded.at_us, duplicate)
