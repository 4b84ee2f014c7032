"""The newest values of a bucket's keys, asked for together.

What many sessions ask in one turn of the loop is one question to JetStream: of a crowd that comes back it
hears a few dozen times a second, not once for each client. An answer is never older than its question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import cast

from shared.bus import Bus, BusError, Value
from shared.errors import Unavailable

TOO_MANY = 413
"""JetStream's answer to a question about more than 1,024 values at once."""

Spawn = Callable[[Coroutine[object, object, object]], "asyncio.Task[object]"]

_Values = list[Value] | Unavailable | BusError
_Found = dict[str, _Values]


def one(subject: str) -> str:
    """Keys are asked for one by one."""
    return subject


def all_below(subject: str) -> str:
    """Everything with the same parent is asked for with `parent.*`."""
    return f"{subject.rpartition('.')[0]}.*"


class _Question:
    """What many ask, and wait for. One who leaves takes no answer along."""

    __slots__ = ("_askers", "filters")

    def __init__(self) -> None:
        self.filters: dict[str, None] = {}
        self._askers: list[asyncio.Future[_Found]] = []

    def answer(self) -> asyncio.Future[_Found]:
        """The answer, once it is there."""
        asker: asyncio.Future[_Found] = asyncio.get_running_loop().create_future()
        self._askers.append(asker)
        return asker

    def answered(self, reading: asyncio.Task[object]) -> None:
        """Here is the answer, or why there is none."""
        error = None if reading.cancelled() else reading.exception()
        for asker in self._askers:
            if asker.done():
                continue
            if reading.cancelled():
                asker.cancel()
            elif error is not None:
                asker.set_exception(error)
            else:
                asker.set_result(cast(_Found, reading.result()))


class Lookups:
    """Questions about one stream.

    `asked_with` says with which filter a key is asked for, `filters_max` how many go into one request; what
    `spawn` runs ends with the edge.
    """

    def __init__(
        self,
        bus: Bus,
        stream: str,
        *,
        asked_with: Callable[[str], str] = one,
        filters_max: int,
        spawn: Spawn,
    ) -> None:
        self._bus = bus
        self._stream = stream
        self._asked_with = asked_with
        self._filters_max = filters_max
        self._spawn = spawn
        self._next: _Question | None = None
        """What is asked in this turn of the loop."""

    async def newest(self, filters: Sequence[str]) -> list[Value]:
        """The newest value of each subject behind these filters. Raises `Unavailable` or `BusError`."""
        question = self._next
        if question is None or len(question.filters) + len(filters) > self._filters_max:
            question = self._next = _Question()
            self._spawn(self._read(question)).add_done_callback(question.answered)
        question.filters.update(dict.fromkeys(filters))
        found = await question.answer()
        values: list[Value] = []
        for asked in filters:
            answer: _Values | None = found.get(asked)
            if isinstance(answer, Exception):
                raise answer
            if answer is not None:
                values += answer
        return values

    async def _read(self, question: _Question) -> _Found:
        """Begins a turn of the loop later, when all have asked who were about to."""
        if self._next is question:
            self._next = None
        filters = question.filters
        found = await self._values(list(filters))
        if isinstance(found, BusError) and found.status == TOO_MANY and len(filters) > 1:
            return {asked: await self._values([asked]) for asked in filters}
        if isinstance(found, Exception):
            return dict.fromkeys(filters, found)
        values: _Found = {}
        for stored in found:
            group = values.setdefault(self._asked_with(stored.subject), [])
            assert isinstance(group, list)
            group.append(stored)
        return values

    async def _values(self, filters: Sequence[str]) -> _Values:
        try:
            return await self._bus.newest_values(self._stream, filters)
        except (Unavailable, BusError) as error:
            return error
