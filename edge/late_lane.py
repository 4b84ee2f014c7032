"""Late ids of one channel: looked up together, then published one behind the other on a known head.

An id whose own time is outside the duplicate window is new only if neither the hot log nor the archive
holds it. The archiver answers that for everything up to a head; the publish is conditional on that same
head, and its success makes our own event the next head. So one question serves a whole queue, and only a
stranger's event in between (the condition fails) costs a look at our own feed.

With each answer comes the greatest id that the channel holds. What is greater than all of them stands
nowhere: an import in the order of time asks once.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Container, Coroutine, Sequence

from edge.archive import Archive
from edge.core.recording import Recording
from edge.core.ring import Entry
from edge.feed import Feed
from edge.waiting import Name, Waiting
from shared.bus import BusError, PubAck
from shared.errors import OutcomeUnknown, ParleyError, Unavailable, WrongLastSequence
from shared.events import KnownEvent
from shared.ids import Seq, StreamSeq
from shared.records import KnownId, known_of
from shared.retry import Deadline, delays

QUEUE_MAX = 1_000
LOOKUP_MAX = 256
BATCH_MAX = 64
BATCH_MIN = 16
"""An atomic batch costs JetStream about 1.6 ms however small it is: below this, one by one is cheaper."""

SETTLE_DEADLINE_S = 10.0
CONTENTION_TRIES_MAX = 50
FOLLOW_MAX_S = 2.0

Commit = Callable[[Feed, Waiting, StreamSeq], Awaitable[PubAck]]
CommitTogether = Callable[[Feed, Sequence[Waiting], StreamSeq], Awaitable[list[StreamSeq]]]
FindAgain = Callable[[Feed, KnownEvent, PubAck], Awaitable[Recording]]


class LateLane:
    """Events are taken in the order of the calls to `submit`; a full queue refuses with `Unavailable`."""

    def __init__(
        self,
        feed: Feed,
        archive: Archive,
        *,
        commit: Commit,
        commit_together: CommitTogether,
        find_again: FindAgain,
        spawn: Callable[[Coroutine[object, object, object]], object],
    ) -> None:
        self.feed = feed
        self._archive = archive
        self._commit = commit
        self._commit_together = commit_together
        self._find_again = find_again
        self._spawn = spawn
        self._queue: deque[Waiting] = deque(maxlen=QUEUE_MAX)
        self._head = StreamSeq(0)
        self._greatest: str | None = None
        """No id up to our head is greater; None: not known."""
        self.busy = False

    def submit(self, event: KnownEvent, headers: dict[str, str]) -> asyncio.Future[Recording]:
        """Where the id stands: published now with these headers, or known before."""
        if len(self._queue) == QUEUE_MAX:
            raise Unavailable("too many old ids at once in one channel", retry_after_ms=500, limit="late")
        one = Waiting(event, asyncio.get_running_loop().create_future(), headers)
        self._queue.append(one)
        if not self.busy:
            self.busy = True
            self._spawn(self._run())
        return one.future

    async def _run(self) -> None:
        waiting: list[Waiting] = []
        try:
            while self._queue:
                waiting = [self._queue.popleft() for _ in range(min(len(self._queue), LOOKUP_MAX))]
                await self._serve(waiting)
        except ParleyError as error:
            self._give_up(waiting, error)
        except Exception:  # a bug: it is raised, and nobody waits for ever because of it
            self._give_up(waiting, OutcomeUnknown("the edge failed", retry_after_ms=1000))
            raise
        finally:
            self.busy = False

    def _give_up(self, waiting: Sequence[Waiting], error: ParleyError) -> None:
        for one in (*waiting, *self._queue):
            if not one.stored:
                one.fail(error)
        self._queue.clear()

    async def _serve(self, waiting: list[Waiting]) -> None:
        """Ask the archive for those that may be known, then publish what is not, one behind the other."""
        while waiting:
            if self.feed.closed:
                raise Unavailable("the channel is brought up anew", retry_after_ms=1000)
            self._follow_feed()
            known: dict[Name, KnownId] = {}
            if self._greatest is None or any(one.event.id <= self._greatest for one in waiting):
                names = [one.name for one in waiting]
                answers, self._greatest = await self._archive.ids(self.feed.key, names, self._head)
                found = zip(names, answers, strict=True)
                known = {name: answer for name, answer in found if answer is not None}
            waiting = await self._publish(waiting, known)

    def _follow_feed(self) -> None:
        """Move the head to our feed's; what others said behind it may have greater ids."""
        if self.feed.stream_seq > self._head:
            entries = self._entries_behind_head()
            self._greatest = None if entries is None else _greatest(self._greatest, entries)
            self._head = self.feed.stream_seq

    def _move_head(self, head: StreamSeq, ours: Sequence[Waiting]) -> None:
        self._head = head
        if self._greatest is not None:
            self._greatest = max(self._greatest, *(one.event.id for one in ours))

    def _entries_behind_head(self) -> list[Entry] | None:
        """What our feed has behind our head; None if the ring no longer holds all of it."""
        ours = self.feed.ring.find(self._head)
        return self.feed.ring.since(ours.seq) if ours is not None else None

    async def _publish(self, waiting: list[Waiting], known: dict[Name, KnownId]) -> list[Waiting]:
        """Serve them in order; those before which the archive has to be asked again come back."""
        start = 0
        tries = itertools.islice(delays(first_s=0.001, cap_s=0.05), CONTENTION_TRIES_MAX)
        while start < len(waiting):
            one = waiting[start]
            if not one.stored and one.name in known:
                one.answer_known(known[one.name])
            if one.stored or one.future.done():  # now, before a stranger came between, or nobody waits
                start += 1
                continue
            published = {other.name for other in waiting if other.stored}
            if one.name in published:  # the same id, perhaps another body: now the archive can say
                return waiting[start:]
            run = _unknown_run(waiting[start : start + BATCH_MAX], known.keys() | published)
            try:
                await self._commit_run(run)
            except WrongLastSequence:
                strangers = await self._strangers()
                if strangers is None:
                    return waiting[start:]
                known |= strangers
                delay_s = next(tries, None)
                if delay_s is None:
                    raise Unavailable("others write too fast", retry_after_ms=500, limit="late") from None
                await asyncio.sleep(delay_s)
                continue
            start += len(run)
        return []

    async def _commit_run(self, run: list[Waiting]) -> None:
        """Publish consecutive events on our head, as one atomic batch if JetStream takes it."""
        if len(run) >= BATCH_MIN:
            try:
                positions = await self._commit_together(self.feed, run, self._head)
            except (OutcomeUnknown, BusError) as error:
                # A try under the condition of the same head, one by one, finds out what happened.
                for one in run:
                    one.tried = one.tried or isinstance(error, OutcomeUnknown)
            else:
                self._move_head(positions[-1], run)
                await self._settle_run(run, positions)
                return
        for one in run:
            try:
                ack = await self._commit(self.feed, one, self._head)
            except WrongLastSequence as error:
                one.tried = one.tried or error.retried  # then the stranger may be our first try
                raise
            self._move_head(ack.stream_seq, [one])
            one.stored = True
            entry = self.feed.ring.find(ack.stream_seq)
            if entry is not None:  # nearly always: the republish comes before the ack
                one.answer_settled(entry, duplicate=ack.duplicate and not ack.retried)
            else:
                self._spawn(self._settle(one, ack))

    async def _settle_run(self, run: Sequence[Waiting], positions: Sequence[StreamSeq]) -> None:
        """Answer a batch, which has consecutive numbers: our feed has all of it when it has the last one."""
        for one in run:
            one.stored = True
        try:
            last = await self.feed.settled(positions[-1], SETTLE_DEADLINE_S)
        except OutcomeUnknown as error:
            for one in run:
                one.fail(error)
            return
        first = last.seq - len(run) + 1 if last is not None else 0
        for number, (one, position) in enumerate(zip(run, positions, strict=True), first):
            entry = self.feed.ring.get(Seq(number))
            if entry is not None and entry.stream_seq == position:
                one.answer_settled(entry, duplicate=False)
            else:
                await self._settle(one, PubAck("", position, duplicate=False, retried=False))

    async def _settle(self, one: Waiting, ack: PubAck) -> None:
        """Answer one that is stored, when our feed has it."""
        duplicate = ack.duplicate and not ack.retried
        try:
            entry = await self.feed.settled(ack.stream_seq, SETTLE_DEADLINE_S)
            if entry is not None:
                one.answer_settled(entry, duplicate=duplicate)
            else:  # a large batch has pushed it out of the ring already
                found = await self._find_again(self.feed, one.event, ack)
                one.answer(found._replace(duplicate=duplicate))
        except ParleyError as error:
            one.fail(error)

    async def _strangers(self) -> dict[Name, KnownId] | None:
        """What came behind our head: our own feed tells, so the archive need not be asked again.

        Moves the head. None if the ring no longer holds all of it, or the feed does not get there.
        """
        self.feed.look()
        deadline = Deadline.after(FOLLOW_MAX_S)
        while self.feed.stream_seq <= self._head:
            if deadline.passed:
                return None
            await asyncio.sleep(0.002)
        entries = self._entries_behind_head()
        if entries is None:
            return None
        self._follow_feed()
        return {
            (entry.recorded.event.author, entry.recorded.event.id): known_of(entry.recorded)
            for entry in entries
        }


def _greatest(so_far: str | None, entries: Sequence[Entry]) -> str | None:
    if so_far is None:
        return None
    return max(so_far, *(entry.recorded.event.id for entry in entries))


def _unknown_run(waiting: Sequence[Waiting], known: Container[Name]) -> list[Waiting]:
    """The first ones that nobody knows, each id once."""
    run: dict[Name, Waiting] = {}
    for one in waiting:
        if one.name in known or one.name in run:
            break
        run[one.name] = one
    return list(run.values())
