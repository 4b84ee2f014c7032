"""A feed: one channel as this edge sees it, contiguous and numbered, from the log to the sessions.

The stream republishes committed messages; the feed applies the gap rule to each, folds it, encodes it once
and tells its audience. What republishing loses (every leader change can) is read from the log:
`want(position)` is the one door for all who know of a position that the feed should have reached: the gap
rule, heads, sweeps, and acks.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence

import structlog

from edge import metrics
from edge.archive import Archive
from edge.audience import Audience, Sink
from edge.core.live import Place, place
from edge.core.ring import Entry, Ring
from edge.trimmed import Log, behind, head_of, trimmed_upto
from shared import telemetry
from shared.bus import Bus, BusError, Message, StoredMessage, Subscription, stored_from_headers
from shared.channel import ChannelState, fold
from shared.erasure import erasure_of
from shared.errors import LogRegressed, NotFound, OutcomeUnknown, Unavailable
from shared.events import Event, KnownEvent, Recorded, decode
from shared.ids import ChannelKey, Epoch, Partition, Seq, StreamSeq
from shared.records import Checkpoint
from shared.retry import delays
from shared.subjects import channel_subject, live_subject, log_stream
from shared.wire_form import wire

OWN_REPUBLISH_GRACE_S = 0.02
"""The republish leaves before the ack, but another task may read it a moment later."""

_PLACED = {where: metrics.FEED_LIVE.labels(where.value) for where in Place}
_log = structlog.get_logger()


class Feed:
    """One channel. Created and activated by `Feeds`; everything but `open` and `settled` is synchronous."""

    def __init__(
        self,
        bus: Bus,
        archive: Archive,
        key: ChannelKey,
        partition: Partition,
        epoch: Epoch,
        *,
        new_ring: Callable[[Seq], Ring],
        spawn: Callable[[Coroutine[object, object, None]], object],
    ) -> None:
        self.key = key
        self.partition = partition
        self.epoch = epoch
        self.log_name = log_stream(partition)
        self.subject = channel_subject(partition, key)
        self._log = Log(key, partition, epoch)
        self.head = Seq(0)
        self.stream_seq = StreamSeq(0)
        self.erased_by = Seq(0)
        """Nothing behind this number has erased anything, as far as the feed has come."""
        self.audience = Audience()
        self.closed = False
        self._bus = bus
        self._archive = archive
        self._spawn = spawn
        self._state: ChannelState | None = None
        self._new_ring = new_ring
        self.ring = new_ring(self.head)
        self._wanted = StreamSeq(0)
        self._repairing = True  # until `open` has brought the feed up
        self._settling: dict[StreamSeq, list[asyncio.Future[Entry]]] = {}
        self._own: dict[bytes, KnownEvent] = {}
        self._subscription: Subscription | None = None

    @property
    def state(self) -> ChannelState:
        """The channel's state at `head`; raises `NotFound` if the channel was never created."""
        if self._state is None:
            raise NotFound(f"no channel {self.key.channel}")
        return self._state

    @property
    def exists(self) -> bool:
        """Whether the channel was created."""
        return self._state is not None

    @property
    def messages(self) -> int:
        """How many messages were posted up to `head`."""
        return self._state.messages if self._state else 0

    async def subscribe(self) -> None:
        """First step of activation: from here on live messages are noticed."""
        subject = live_subject(self.partition, self.key)
        self._subscription = await self._bus.subscribe(subject, self._on_live)

    async def catch_up(self, checkpoint: Checkpoint | None) -> None:
        """Second step: start from the checkpoint, read the tail behind it, join the live messages."""
        if checkpoint is not None:
            self._start_from(checkpoint)
        is_reading = True
        while is_reading:
            before = self.stream_seq
            # With our own event: as long as it is in the answer, nothing behind it has left the log.
            found = await self._bus.direct_batch(
                self.log_name, self.subject, start=before, batch=500, timeout_s=5.0
            )
            await self._start_behind_trimmed(found)
            for stored in found:
                if stored.stream_seq > self.stream_seq:
                    self._apply(stored)
            is_reading = self.stream_seq > before
        await self._repair()

    def _start_from(self, checkpoint: Checkpoint) -> None:
        self.head, self.stream_seq = checkpoint.seq, checkpoint.stream_seq
        self.erased_by = self.head
        self._state = checkpoint.state
        self.ring = self._new_ring(self.head)

    async def _start_behind_trimmed(self, found: Sequence[StoredMessage]) -> None:
        """The checkpoint came from any replica: it may be older than what has left the log since."""
        newest = await trimmed_upto(self._bus, self._log, self.stream_seq, found)
        if newest is not None and newest.stream_seq > self.stream_seq:
            self._start_from(newest)

    async def close(self) -> None:
        """Stop listening; the feed is of no use afterwards."""
        self.closed = True
        self.ring.clear()
        if self._subscription is not None:
            await self._subscription.unsubscribe()

    def attach(self, sink: Sink) -> None:
        """From now on `sink` receives what comes after `head`."""
        self.audience.attach(sink)

    def detach(self, sink: Sink) -> None:
        """Receive nothing more."""
        self.audience.detach(sink)

    def expect(self, body: bytes, event: KnownEvent) -> None:
        """We publish this body: when it comes back it need not be read. Until `expect_no_more`."""
        self._own[body] = event

    def expect_no_more(self, body: bytes) -> None:
        """The log has answered, or will not."""
        self._own.pop(body, None)

    def want(self, stream_seq: StreamSeq) -> None:
        """Somebody knows that the log holds this position: get there, if we are not there yet."""
        if stream_seq <= max(self.stream_seq, self._wanted) or self.closed:
            return
        self._wanted = stream_seq
        if not self._repairing:
            self._repairing = True
            metrics.FEED_REPAIRS.inc()
            self._spawn(self._repair())

    def look(self) -> None:
        """Ask the log whether it is ahead of us."""
        self._spawn(self._look())

    async def reach_log(self, deadline_s: float = 5.0) -> None:
        """Catch up with what the stream's leader has now, for a client that has seen more than we have.

        Raises `Unavailable` or `OutcomeUnknown`.
        """
        try:
            newest = await head_of(self._bus, self._log)
        except BusError as error:
            raise Unavailable(f"the log does not answer: {error.message}", retry_after_ms=1000) from error
        if newest is not None:
            await self.settled(newest, deadline_s)

    async def settled(self, stream_seq: StreamSeq, deadline_s: float) -> Entry | None:
        """The event at this position, once the feed has it; None if it is older than the ring.

        Raises `OutcomeUnknown` if the feed does not get there in time (the event itself is durable).
        """
        if stream_seq <= self.stream_seq:
            return self.ring.find(stream_seq)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Entry] = loop.create_future()
        self._settling.setdefault(stream_seq, []).append(future)
        timer = loop.call_later(OWN_REPUBLISH_GRACE_S, self.want, stream_seq)
        try:
            async with asyncio.timeout(deadline_s):
                return await future
        except TimeoutError as error:
            raise OutcomeUnknown("recorded, but its number is not known yet", retry_after_ms=1000) from error
        finally:
            timer.cancel()
            waiting = self._settling[stream_seq]
            waiting.remove(future)
            if not waiting:
                del self._settling[stream_seq]

    def _on_live(self, message: Message) -> None:
        try:
            stored = stored_from_headers(message)
        except (KeyError, ValueError):
            metrics.FEED_LIVE.labels("unreadable").inc()
            return
        if self._repairing:
            self._wanted = max(self._wanted, stored.stream_seq)
            return
        where = place(self.stream_seq, stored.stream_seq, stored.last_seq or StreamSeq(0))
        _PLACED[where].inc()
        match where:
            case Place.NEXT:
                with telemetry.span("edge.deliver", stored.headers):  # one per edge, none per recipient
                    self._apply(stored)
            case Place.HOLE | Place.TRIMMED:
                self.want(stored.stream_seq)
            case Place.REGRESSED:
                self.reset(where.value)

    async def _look(self) -> None:
        newest = await head_of(self._bus, self._log)
        if newest is not None:
            self.want(newest)

    async def _repair(self) -> None:
        """Read on until everything that is known to exist has been applied."""
        waits = delays(first_s=0.05, cap_s=2.0)
        while self.stream_seq < self._wanted and not self.closed:
            try:
                async for missed in behind(
                    self._bus, self._archive, self._log, self.stream_seq, self.head, upto=self._wanted
                ):
                    if self.closed:
                        return
                    for one in missed:
                        self._add(*one)
            except (Unavailable, BusError) as error:
                _log.warning("feed.repair_failed", partition=self.partition, error=error.message)
                await asyncio.sleep(next(waits))
            except LogRegressed:
                self.reset(Place.TRIMMED.value)
        self._repairing = False

    def _apply(self, stored: StoredMessage) -> None:
        event = self._own.get(stored.body)
        self._add(stored.stream_seq, stored.at_us, decode(stored.body) if event is None else event)

    def _add(self, stream_seq: StreamSeq, at_us: int, event: Event) -> None:
        """The next event of the log: number it, fold it, encode it; the sinks hear of it in a moment."""
        assert stream_seq > self.stream_seq
        self._state, void = fold(self._state, event)
        self.head = Seq(self.head + 1)
        self.stream_seq = stream_seq
        recorded = Recorded(self.key, self.head, stream_seq, at_us, event, void)
        entry = Entry(recorded, wire(recorded), self.messages)
        self.ring.append(entry)
        if (erasure := erasure_of(recorded)) is not None:
            self.ring.erase(erasure)
            self.erased_by = self.head
        self.audience.tell(entry)
        for future in self._settling.get(stream_seq, ()):
            if not future.done():
                future.set_result(entry)

    def reset(self, reason: str) -> None:
        """Give up: the numbers that were given out are worth nothing any more."""
        _log.error("feed.reset", partition=self.partition, reason=reason, seq=self.head)
        metrics.FEED_RESETS.labels(reason).inc()
        self.audience.flush()
        self.closed = True
        for future in itertools.chain.from_iterable(self._settling.values()):
            if not future.done():
                future.set_exception(OutcomeUnknown("the log was replaced", retry_after_ms=1000))
        for sink in self.audience:
            sink.on_reset(reason)
