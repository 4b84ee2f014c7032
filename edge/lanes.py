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
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class _Lane(Generic[Item]):
    queue: deque[Item]
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def changed(self) -> None:
        """Something was queued, or something that overlaps has ended."""
        self.news.clear()
        await self.news.wait()


class Lanes(Generic[Item]):
    """The lanes of one session."""

    def __init__(self, work: Work[Item], *, in_flight_max: int, spawn: Spawn) -> None:
        self._work = work
        self._in_flight_max = in_flight_max
        self._spawn = spawn
        self._lanes: dict[ChannelId, _Lane[Item]] = {}
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
        lane = self._lanes.get(channel)
        if lane is None:
            lane = self._lanes[channel] = _Lane(deque(maxlen=self._in_flight_max))
            self._spawn(self._run(channel, lane))
        lane.queue.append(item)
        lane.news.set()

    async def _run(self, channel: ChannelId, lane: _Lane[Item]) -> None:
        overlapping: set[asyncio.Task[None]] = set()

        def ended(task: asyncio.Task[None]) -> None:
            overlapping.discard(task)
            lane.news.set()

        while lane.queue or overlapping:
            if not lane.queue:
                await lane.changed()
                continue
            step = await self._work(lane.queue.popleft())
            if step is None:
                self._ended()
            elif step.overlaps:
                task = self._spawn(self._finish(step))
                overlapping.add(task)
                task.add_done_callback(ended)
            else:
                while overlapping:
                    await lane.changed()
                await self._finish(step)
        del self._lanes[channel]

    async def _finish(self, step: Step) -> None:
        try:
            await step.run
        finally:
            self._ended()

    def _ended(self) -> None:
        self._in_flight -= 1
        self._room.set()
