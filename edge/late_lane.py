"""Late ids of one channel: looked up together, then published one behind the other on a known head.

An id whose own time is outside the duplicate window is new only if neither the hot log nor the archive
holds it. The archiver answers that for everything up to a head; the publish is conditional on that same
head, and its success makes our own event the next head. So one question serves a whole queue, and only a
stranger's event in between (the condition fails) costs a look at our own feed.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Container, Coroutine, Sequence

from edge.archive import Archive
from edge.core.ring import Entry
from edge.feed import Feed
from shared.bus import BusError, PubAck
from shared.errors import OutcomeUnknown, ParleyError, Unavailable, WrongLastSequence
from shared.events import KnownEvent, fingerprint
from shared.ids import CommandId, StreamSeq, UserId
from shared.records import KnownId
from shared.retry import Deadline, delays

QUEUE_MAX = 1_000
LOOKUP_MAX = 256
BATCH_MAX = 64
BATCH_MIN = 16
"""An atomic batch costs JetStream about 1.6 ms however small it is: below this, one by one is cheaper."""

SETTLE_DEADLINE_S = 10.0
CONTENTION_TRIES_MAX = 50
FOLLOW_MAX_S = 2.0

Commit = Callable[[Feed, KnownEvent, StreamSeq | None], Awaitable[PubAck]]
CommitTogether = Callable[[Feed, Sequence[KnownEvent], StreamSeq], Awaitable[list[StreamSeq]]]
Outcome = PubAck | KnownId
_Name = tuple[UserId, CommandId]
_Waiting = tuple[KnownEvent, "asyncio.Future[Outcome]"]


class LateLane:
    """Events are taken in the order of the calls to `submit`; a full queue refuses with `Unavailable`."""

    def __init__(
        self,
        feed: Feed,
        archive: Archive,
        commit: Commit,
        commit_together: CommitTogether,
        spawn: Callable[[Coroutine[object, object, object]], object],
    ) -> None:
        self.feed = feed
        self._archive = archive
        self._commit = commit
        self._commit_together = commit_together
        self._spawn = spawn
        self._queue: deque[_Waiting] = deque(maxlen=QUEUE_MAX)
        self._head = StreamSeq(0)
        self.busy = False

    async def submit(self, event: KnownEvent) -> Outcome:
        """Where the id stands: a PubAck if it was published now, else what the archive knows of it."""
        if len(self._queue) == QUEUE_MAX:
            raise Unavailable("too many old ids at once in one channel", retry_after_ms=500, limit="late")
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._queue.append((event, future))
        if not self.busy:
            self.busy = True
            self._spawn(self._run())
        return await future

    async def _run(self) -> None:
        waiting: list[_Waiting] = []
        try:
            while self._queue:
                waiting = [self._queue.popleft() for _ in range(min(len(self._queue), LOOKUP_MAX))]
                await self._serve(waiting)
        except ParleyError as error:
            self._fail([*waiting, *self._queue], error)
            self._queue.clear()
        finally:
            self.busy = False

    async def _serve(self, waiting: list[_Waiting]) -> None:
        """Ask the archive for all of them, then publish what it does not know, one behind the other."""
        while waiting:
            head = self._head = max(self._head, self.feed.stream_seq)
            answers = await self._archive.ids(self.feed.key, _ids(waiting), head)
            known = {
                name: answer
                for name, answer in zip(_ids(waiting), answers, strict=True)
                if answer is not None
            }
            waiting = await self._publish(waiting, known)

    async def _publish(self, waiting: list[_Waiting], known: dict[_Name, KnownId]) -> list[_Waiting]:
        """Serve them in order; those before which the archive has to be asked again come back."""
        start = 0
        tries = itertools.islice(delays(first_s=0.001, cap_s=0.05), CONTENTION_TRIES_MAX)
        while start < len(waiting):
            _, future = waiting[start]
            answer = known.get(_name(waiting[start]))
            if answer is not None:
                _answer(future, answer)
            if future.done():  # answered: now, before a stranger came between, or nobody waits any more
                start += 1
                continue
            run = _unknown_run(waiting[start : start + BATCH_MAX], known)
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
            if start < len(waiting) and _name(waiting[start]) in {_name(one) for one in run}:
                return waiting[start:]  # the same id twice: what we published now is known to the archive
        return []

    async def _commit_run(self, run: list[_Waiting]) -> None:
        """Publish consecutive events on our head, as one atomic batch if JetStream takes it."""
        if len(run) >= BATCH_MIN:
            try:
                positions = await self._commit_together(self.feed, [event for event, _ in run], self._head)
            except (OutcomeUnknown, BusError):
                pass  # a try under the condition of the same head, one by one, finds out what happened
            else:
                self._head = positions[-1]
                await self.feed.settled(self._head, SETTLE_DEADLINE_S)
                for (_, future), position in zip(run, positions, strict=True):
                    _answer(future, PubAck("", position, duplicate=False, retried=False))
                return
        for event, future in run:
            ack = await self._commit(self.feed, event, self._head)
            self._head = ack.stream_seq
            _answer(future, ack)

    async def _strangers(self) -> dict[_Name, KnownId] | None:
        """What came behind our head: our own feed tells, so the archive need not be asked again.

        Moves the head. None if the ring no longer holds all of it, or the feed does not get there.
        """
        self.feed.look()
        deadline = Deadline.after(FOLLOW_MAX_S)
        while self.feed.stream_seq <= self._head:
            if deadline.passed:
                return None
            await asyncio.sleep(0.002)
        ours = self.feed.ring.find(self._head)
        entries = self.feed.ring.since(ours.seq) if ours is not None else None
        if entries is None:
            return None
        self._head = self.feed.stream_seq
        return {(entry.recorded.event.author, entry.recorded.event.id): _known(entry) for entry in entries}

    def _fail(self, waiting: Sequence[_Waiting], error: ParleyError) -> None:
        for _, future in waiting:
            if not future.done():
                future.set_exception(error)


def _name(one: _Waiting) -> _Name:
    return one[0].author, one[0].id


def _unknown_run(waiting: Sequence[_Waiting], known: Container[_Name]) -> list[_Waiting]:
    """The first ones that nobody knows, each id once."""
    run: dict[_Name, _Waiting] = {}
    for one in waiting:
        if _name(one) in known or _name(one) in run:
            break
        run[_name(one)] = one
    return list(run.values())


def _ids(waiting: Sequence[_Waiting]) -> list[_Name]:
    return [_name(one) for one in waiting]


def _answer(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not future.done():
        future.set_result(outcome)


def _known(entry: Entry) -> KnownId:
    recorded = entry.recorded
    return KnownId(
        seq=recorded.seq,
        stream_seq=recorded.stream_seq,
        at_us=recorded.at_us,
        fingerprint=fingerprint(recorded.event),
        void=recorded.void,
    )
