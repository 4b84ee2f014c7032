"""From an event to its number: durable, once for ever, and judged by the log.

Three paths lead to a commit (ARCHITECTURE.md, "Idempotent for ever"):

* fresh: the id's own time is so near to ours that JetStream's duplicate window answers for it
  (`core/freshness.py`). A duplicate's stored body is compared.
* late: the id is older. The archiver says whether it knows the id up to our head; if not, the event is
  published on the condition that the head has not moved, so nothing can slip in between (`LateLane`).
* create: the first event of a channel, on the condition that there is none (`Creations`).

Whatever path, the answer is given only when our own feed has the event: then it has its number and verdict.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from edge import metrics
from edge.archive import Archive, recorded_already
from edge.breakers import Breakers
from edge.core import recording
from edge.core.breaker import Ticket
from edge.core.freshness import Freshness
from edge.core.recording import Recording
from edge.creation import Creations
from edge.feed import Feed
from edge.feeds import Feeds
from edge.group_commit import GroupCommits
from edge.late_lane import LateLane
from edge.trimmed import on_head
from edge.waiting import Waiting
from shared import telemetry
from shared.bus import COMMIT_DEADLINE_S, Bus, Draft, PubAck
from shared.clock import now_us
from shared.errors import Conflict, ParleyError, Unavailable
from shared.events import ChannelCreated, KnownEvent, decode, encode
from shared.fingerprints import fingerprint, says
from shared.ids import ChannelKey, Seq, StreamSeq
from shared.retry import Deadline
from shared.streams import DUPLICATE_WINDOW_S
from shared.subjects import message_id

STRAY_S = 15.0
"""A connection that says nothing is given up after 6 s, and with it what was sent on it."""

FRESHNESS = Freshness(DUPLICATE_WINDOW_S, COMMIT_DEADLINE_S, STRAY_S)
SETTLE_DEADLINE_S = 10.0
LANES_MAX = 10_000

Answer = Callable[[Recording | ParleyError], None]


@dataclass(slots=True, eq=False)
class _Fresh:
    """A fresh event on its way; `before`: where its feed was when it came."""

    feed: Feed
    event: KnownEvent
    body: bytes
    headers: dict[str, str]
    before: StreamSeq
    deadline: Deadline
    ticket: Ticket
    then: Answer

    def answer(self, outcome: Recording | ParleyError) -> None:
        """Tell what became of it."""
        if isinstance(outcome, ParleyError):
            metrics.commits("fresh", outcome.code).inc()
        else:
            metrics.commits("fresh", "duplicate" if outcome.duplicate else "recorded").inc()
        self.then(outcome)


class Publisher:
    """One per edge. Callers keep a session's order (P13); late ids of a channel are kept in order here."""

    def __init__(
        self,
        bus: Bus,
        feeds: Feeds,
        archive: Archive,
        breakers: Breakers,
        groups: GroupCommits,
        partitions: int,
    ) -> None:
        self._bus = bus
        self._feeds = feeds
        self._archive = archive
        self._breakers = breakers
        self._groups = groups
        self._creations = Creations(bus, feeds, archive, breakers, partitions)
        self._lanes: dict[ChannelKey, LateLane] = {}

    def is_late(self, event: KnownEvent) -> bool:
        """Whether the id is too old for the duplicate window; late ids may be handed over many at once."""
        return FRESHNESS.is_late(event.id, now_us())

    async def record(self, feed: Feed, event: KnownEvent) -> Recording:
        """Make the event durable and return its place.

        Raises `Conflict`, `ClockSkew`, `Forbidden` (recorded, but void), `Unavailable` (not recorded) or
        `OutcomeUnknown` (try again under the same id).
        """
        if self.is_late(event):
            return await self.record_late(feed, event, telemetry.headers())
        FRESHNESS.check(event.id, now_us())
        with telemetry.span("edge.record"):
            try:
                found = await self._fresh(feed, event)
            except ParleyError as error:
                metrics.commits("fresh", error.code).inc()
                raise
        metrics.commits("fresh", "duplicate" if found.duplicate else "recorded").inc()
        return found

    def record_fresh(self, feed: Feed, event: KnownEvent, headers: dict[str, str], then: Answer) -> None:
        """The same for a fresh id, without a task: `then` is called where the log's answer is read.

        An id that has become late while it waited for its turn is recorded as such.
        """
        if self.is_late(event):
            late = self.record_late(feed, event, headers)
            late.add_done_callback(lambda done: then(_outcome(done)))
            return
        FRESHNESS.check(event.id, now_us())
        ticket = self._breakers.admit(feed.log_name)
        body, deadline = encode(event), Deadline.after(COMMIT_DEADLINE_S)
        fresh = _Fresh(feed, event, body, headers, feed.stream_seq, deadline, ticket, then)
        feed.expect(body, event)
        self._groups.commit_soon(
            feed.log_name,
            feed.subject,
            body,
            msg_id=message_id(feed.key, event.author, event.id),
            headers=headers,
            deadline=deadline,
            then=partial(self._acknowledged, fresh),
            unsent=partial(self._try_on, fresh, 0),
        )

    def _acknowledged(self, fresh: _Fresh, outcome: PubAck | ParleyError | None) -> None:
        """The log has answered the first try, or (None) nothing is known of it."""
        if outcome is None:
            self._try_on(fresh, 1)
            return
        fresh.feed.expect_no_more(fresh.body)
        self._breakers.answered(fresh.ticket)
        if isinstance(outcome, ParleyError):
            fresh.answer(outcome)
            return
        if not outcome.duplicate:
            entry = fresh.feed.ring.find(outcome.stream_seq)
            if entry is not None and recording.stands(entry, fresh.event):  # nearly always
                fresh.answer(Recording(entry.seq, entry.recorded.at_us, duplicate=False))
                return
        self._feeds.spawn(self._answer_settled(fresh.feed, fresh.event, outcome, fresh.answer))

    def _try_on(self, fresh: _Fresh, tries: int) -> None:
        fresh.feed.expect_no_more(fresh.body)
        self._feeds.spawn(self._answer_fresh(fresh, tries))

    async def _answer_fresh(self, fresh: _Fresh, tries: int) -> None:
        """What the first try did not say: try on until the log answers, as long as the id is fresh."""
        try:
            with self._breakers.ending(fresh.ticket):
                ack = await self._commit(
                    fresh.feed, fresh.event, None, fresh.headers, tries, fresh.deadline.left_s
                )
        except ParleyError as error:
            fresh.answer(error)
        else:
            ack = recording.told_apart(ack, fresh.before)
            await self._answer_settled(fresh.feed, fresh.event, ack, fresh.answer)

    async def _answer_settled(self, feed: Feed, event: KnownEvent, ack: PubAck, answer: Answer) -> None:
        try:
            answer(await self._settled(feed, event, ack))
        except ParleyError as error:
            answer(error)

    def record_late(
        self, feed: Feed, event: KnownEvent, headers: dict[str, str]
    ) -> asyncio.Future[Recording]:
        """The same for a late id, handed over at once: they are recorded in the order of these calls."""
        lane = self._lanes.get(feed.key)
        if lane is None or lane.feed is not feed:
            if len(self._lanes) >= LANES_MAX:
                self._lanes = {key: busy for key, busy in self._lanes.items() if busy.busy}
            lane = self._lanes[feed.key] = LateLane(
                feed,
                self._archive,
                commit=self._commit_waiting,
                commit_together=self._commit_together,
                find_again=self._older_than_ring,
                spawn=self._feeds.spawn,
            )
        return lane.submit(event, headers)

    async def create(self, key: ChannelKey, event: ChannelCreated) -> tuple[Feed, Recording]:
        """Record the first event of a channel (`Creations.create`)."""
        FRESHNESS.check(event.id, now_us())
        return await self._creations.create(key, event)

    async def _fresh(self, feed: Feed, event: KnownEvent) -> Recording:
        before = feed.stream_seq
        with self._breakers.commit(feed.log_name):
            ack = await self._commit(feed, event, None, telemetry.headers())
        return await self._settled(feed, event, recording.told_apart(ack, before))

    async def _settled(self, feed: Feed, event: KnownEvent, ack: PubAck) -> Recording:
        """The place of a fresh event that the log has acknowledged."""
        entry = await feed.settled(ack.stream_seq, SETTLE_DEADLINE_S)
        duplicate = ack.duplicate and not ack.retried
        if entry is None:  # a burst has pushed it out of the ring, or it was there long ago
            found = await self._older_than_ring(feed, event, ack)
            return found._replace(duplicate=duplicate)
        if not recording.is_of(entry, event):  # the log is not the one that our feed has counted
            self._feeds.epochs.doubt(feed.partition)
        recording.check_same_log(entry, event)
        if not ack.duplicate:
            return recording.of_entry(entry, duplicate=False)
        return recording.of_same(entry, event, duplicate=duplicate)

    async def _older_than_ring(self, feed: Feed, event: KnownEvent, ack: PubAck) -> Recording:
        """A duplicate whose original has left the ring: the body is in the log, the number in the archive."""
        with recorded_already("recorded, but its number is not known yet"):
            stored = await self._bus.stored(feed.log_name, ack.stream_seq)
            if stored is not None and not says(fingerprint(decode(stored.body)), event):
                raise Conflict(
                    "this id is recorded with another body", seq=await self._number(feed, event, ack)
                )
            (known,), _ = await self._archive.ids(feed.key, [(event.author, event.id)], ack.stream_seq)
            if known is None:
                raise Unavailable("the archive does not know this id yet", retry_after_ms=1000)
        return recording.of_known(known, event)

    async def _number(self, feed: Feed, event: KnownEvent, ack: PubAck) -> Seq | None:
        """Where an id is recorded, if the archive knows it by now."""
        with contextlib.suppress(Unavailable):
            (known,), _ = await self._archive.ids(feed.key, [(event.author, event.id)], ack.stream_seq)
            return None if known is None else known.seq
        return None

    async def _commit_together(self, feed: Feed, run: Sequence[Waiting], head: StreamSeq) -> list[StreamSeq]:
        subject = feed.subject
        drafts = [
            Draft(subject, encode(one.event), message_id(feed.key, *one.name), one.headers) for one in run
        ]

        async def commit(expect_last: StreamSeq) -> list[StreamSeq]:
            with self._breakers.commit(feed.log_name):
                return await self._bus.commit_together(drafts, expect_last=expect_last)

        return await on_head(self._bus, feed.partition, head, commit)

    async def _commit_waiting(self, feed: Feed, one: Waiting, head: StreamSeq) -> PubAck:
        async def commit(expect_last: StreamSeq) -> PubAck:
            with self._breakers.commit(feed.log_name, owed=one.tried):
                return await self._commit(feed, one.event, expect_last, one.headers)

        return await on_head(self._bus, feed.partition, head, commit)

    async def _commit(
        self,
        feed: Feed,
        event: KnownEvent,
        expect_last: StreamSeq | None,
        headers: Mapping[str, str],
        tries: int = 0,
        deadline_s: float = COMMIT_DEADLINE_S,
    ) -> PubAck:
        return await self._bus.commit(
            feed.subject,
            encode(event),
            msg_id=message_id(feed.key, event.author, event.id),
            expect_last=expect_last,
            headers=headers,
            tries=tries,
            deadline_s=deadline_s,
        )


def _outcome(done: asyncio.Future[Recording]) -> Recording | ParleyError:
    error = done.exception()
    return error if isinstance(error, ParleyError) else done.result()
