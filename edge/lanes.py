"""A session's commands on their way: in order within a channel, side by side between channels (P13).

A lane is a queue and a task that exists while the queue holds something. Each command has two steps: `work`
decides about it, and what it returns makes it durable. The second step of one command ends before the next
command begins, except that steps that say `overlaps` follow one another without waiting: old ids (imports),
whose order the publisher keeps. `in_flight_max` bounds a session: when it is reached, the session stops
reading, and the client's frames wait in its socket.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Generic, TypeVar

from shared.ids import ChannelId

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Step:
    """The second step of a command; neither it nor the first raises `ParleyError`."""

    run: Coroutine[object, object, None]
    overlaps: bool = False


Work = Callable[[Item], Awaitable[Step | None]]
Spawn = Callable[[Coroutine[object, object, None]], "asyncio.Task[None]"]


class Lanes(Generic[Item]):
    """The lanes of one session."""

    def __init__(self, work: Work[Item], *, in_flight_max: int, spawn: Spawn) -> None:
        self._work = work
        self._in_flight_max = in_flight_max
        self._spawn = spawn
        self._queues: dict[ChannelId, deque[Item]] = {}
        self._in_flight = 0
        self._room = asyncio.Event()
        self._room.set()

    @property
    def is_full(self) -> bool:
        """Whether `put` has to wait."""
        return self._in_flight >= self._in_flight_max

    async def room(self) -> None:
        """Returns when `put` may be called."""
        await self._room.wait()

    def put(self, channel: ChannelId, item: Item) -> None:
        """Queue an item behind the channel's others."""
        assert not self.is_full, "wait for room first"
        self._in_flight += 1
        if self.is_full:
            self._room.clear()
        queue = self._queues.get(channel)
        if queue is None:
            queue = self._queues[channel] = deque(maxlen=self._in_flight_max)
            self._spawn(self._run(channel, queue))
        queue.append(item)

    async def _run(self, channel: ChannelId, queue: deque[Item]) -> None:
        overlapping: set[asyncio.Task[None]] = set()
        while queue or overlapping:
            if not queue:
                await asyncio.wait(overlapping, return_when=asyncio.FIRST_COMPLETED)
                continue
            step = await self._work(queue.popleft())
            if step is None:
                self._ended()
            elif step.overlaps:
                task = self._spawn(self._finish(step))
                overlapping.add(task)
                task.add_done_callback(overlapping.discard)
            else:
                if overlapping:
                    await asyncio.wait(overlapping)
                await self._finish(step)
        del self._queues[channel]

    async def _finish(self, step: Step) -> None:
        try:
            await step.run
        finally:
            self._ended()

    def _ended(self) -> None:
        self._in_flight -= 1
        self._room.set()
