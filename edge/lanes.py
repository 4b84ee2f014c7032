"""A session's commands on their way: in order within a channel, side by side between channels (P13).

`work` decides about a command as soon as nothing before it in its channel stands in the way, and says how it
becomes durable. Nearly all do so alone: the next command waits until that is over. Old ids (imports), whose
order the publisher keeps, give a future instead: they follow one another without waiting, and only what does
not overlap waits for all of them. `in_flight_max` bounds a session: when it is reached, the session stops
reading, and the client's frames wait in its socket.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from edge.core.recording import Recording
from shared.ids import ChannelId

Item = TypeVar("Item")

Over = Callable[[], None]

Alone = Callable[[Over], "Coroutine[object, object, None] | bool"]
"""Begins what has to be over before the next command of the channel; raises no `ParleyError`.

Gives a coroutine to run to its end, or True if it is over already; if it gives False it calls `Over`.
"""

Started = asyncio.Future[Recording] | Alone | None
"""A command that overlaps with the next ones, one that does not, or one that is over already."""

Work = Callable[[Item], Started]
Spawn = Callable[[Coroutine[object, object, None]], "asyncio.Task[None]"]


@dataclass(slots=True)
class _Lane(Generic[Item]):
    channel: ChannelId
    queue: deque[Item]
    overlapping: int = 0
    alone: Alone | None = None
    """Decided, and waiting for those that overlap, or running."""
    running: bool = False


class Lanes(Generic[Item]):
    """The lanes of one session."""

    __slots__ = ("_closed", "_in_flight", "_in_flight_max", "_lanes", "_room", "_spawn", "_work")

    def __init__(self, work: Work[Item], *, in_flight_max: int, spawn: Spawn) -> None:
        self._work = work
        self._in_flight_max = in_flight_max
        self._spawn = spawn
        self._lanes: dict[ChannelId, _Lane[Item]] = {}
        self._in_flight = 0
        self._room: asyncio.Event | None = None
        """Made by the first who waits for it."""
        self._closed = False

    @property
    def is_full(self) -> bool:
        """Whether `put` has to wait."""
        return self._in_flight >= self._in_flight_max

    async def room(self) -> None:
        """Returns when `put` may be called."""
        while self.is_full:
            if self._room is None:
                self._room = asyncio.Event()
            await self._room.wait()

    def put(self, channel: ChannelId, item: Item) -> None:
        """Decide about an item now, or queue it behind the channel's others."""
        assert not self.is_full, "wait for room first"
        self._in_flight += 1
        lane = self._lanes.get(channel)
        if lane is None:
            lane = self._lanes[channel] = _Lane(channel, deque(maxlen=self._in_flight_max))
        lane.queue.append(item)
        if lane.alone is None:
            self._decide(lane)
            self._go_on(lane)

    def close(self) -> None:
        """Begin nothing any more."""
        self._closed = True

    def _decide(self, lane: _Lane[Item]) -> None:
        """Take from the queue up to the first command that has to be alone."""
        while lane.queue and lane.alone is None:
            started = self._work(lane.queue.popleft())
            if started is None:
                self._ended()
            elif isinstance(started, asyncio.Future):
                lane.overlapping += 1
                started.add_done_callback(partial(self._overlapped, lane))
            else:
                lane.alone = started

    def _overlapped(self, lane: _Lane[Item], _: object) -> None:
        lane.overlapping -= 1
        self._ended()
        self._go_on(lane)

    def _go_on(self, lane: _Lane[Item]) -> None:
        """Run what had to wait for those that overlap; forget a lane that has nothing left."""
        while not (lane.overlapping or lane.running or self._closed):
            if lane.alone is None:
                self._lanes.pop(lane.channel, None)
                return
            lane.running = True
            begun = lane.alone(partial(self._alone_over, lane))
            if not isinstance(begun, bool):
                self._spawn(begun).add_done_callback(partial(self._alone_over, lane))
            elif begun:
                self._next(lane)

    def _alone_over(self, lane: _Lane[Item], _: object = None) -> None:
        try:
            self._next(lane)
            self._go_on(lane)
        except Exception as error:  # noqa: BLE001  # a bug ends the session, as it does where `put` is called
            self._spawn(fail(error))

    def _next(self, lane: _Lane[Item]) -> None:
        lane.running = False
        lane.alone = None
        self._ended()
        if lane.queue and not self._closed:
            self._decide(lane)

    def _ended(self) -> None:
        self._in_flight -= 1
        if self._room is not None:
            self._room.set()
            self._room = None


async def fail(error: Exception) -> None:
    """For the session's tasks, which end with whoever raises."""
    raise error
