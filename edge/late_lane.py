"""Late ids of one channel: looked up together, then published one behind the other on a known head.

An id whose own time is outside the duplicate window is new only if neither the hot log nor the archive
holds it. The archiver answers that for everything up to a head; the publish is conditional on that same
head, and its success makes our own event the next head. So one question serves a whole queue, and only a
stranger's event in between (the condition fails) costs another.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from edge.archive import Archive
from edge.feed import Feed
from shared.bus import PubAck
from shared.errors import ParleyError, Unavailable, WrongLastSequence
from shared.events import KnownEvent
from shared.ids import CommandId, StreamSeq, UserId
from shared.records import KnownId

QUEUE_MAX = 1_000
LOOKUP_MAX = 256
CONTENTION_TRIES_MAX = 20

Commit = Callable[[Feed, KnownEvent, StreamSeq | None], Awaitable[PubAck]]
Outcome = PubAck | KnownId
_Waiting = tuple[KnownEvent, "asyncio.Future[Outcome]"]


class LateLane:
    """Events are taken in the order of the calls to `submit`; a full queue refuses with `Unavailable`."""

    def __init__(
        self,
        feed: Feed,
        archive: Archive,
        commit: Commit,
        spawn: Callable[[Coroutine[object, object, object]], object],
    ) -> None:
        self.feed = feed
        self._archive = archive
        self._commit = commit
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
        for _ in range(CONTENTION_TRIES_MAX):
            waiting = await self._look_up_and_publish(waiting)
            if not waiting:
                return
        self._fail(waiting, Unavailable("others write too fast", retry_after_ms=500, limit="late"))

    async def _look_up_and_publish(self, waiting: list[_Waiting]) -> list[_Waiting]:
        """Serve them up to the first whose condition failed; what is left comes back."""
        head = self._head = max(self._head, self.feed.stream_seq)
        found = await self._archive.ids(self.feed.key, _ids(waiting), head)
        done: dict[tuple[UserId, CommandId], Outcome] = {}
        for index, ((event, future), known) in enumerate(zip(waiting, found, strict=True)):
            name = (event.author, event.id)
            if known is None and name in done:  # the same id twice in one batch
                return waiting[index:]
            if known is not None:
                _answer(future, known)
                continue
            try:
                ack = await self._commit(self.feed, event, head)
            except WrongLastSequence:
                await self._follow(head)
                return waiting[index:]
            head = self._head = ack.stream_seq
            done[name] = ack
            _answer(future, ack)
        return []

    async def _follow(self, head: StreamSeq) -> None:
        """Somebody else's event came first: look again from where the log is now."""
        self.feed.look()
        for _ in range(50):
            if self.feed.stream_seq > head:
                return
            await asyncio.sleep(0.01)

    def _fail(self, waiting: Sequence[_Waiting], error: ParleyError) -> None:
        for _, future in waiting:
            if not future.done():
                future.set_exception(error)


def _ids(waiting: Sequence[_Waiting]) -> list[tuple[UserId, CommandId]]:
    return [(event.author, event.id) for event, _ in waiting]


def _answer(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not future.done():
        future.set_result(outcome)
