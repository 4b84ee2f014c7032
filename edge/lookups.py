"""The newest values of a bucket's keys, asked for together.

What many sessions ask in one turn of the loop is one question to JetStream: of a crowd that comes back it
hears a few dozen times a second, not once for each client. An answer is never older than its question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence

from shared.bus import Bus, BusError, Value
from shared.errors import Unavailable

TOO_MANY = 413
"""JetStream's answer to a question about more than 1,024 values at once."""

Spawn = Callable[[Coroutine[object, object, object]], "asyncio.Task[object]"]

_Values = list[Value] | Unavailable | BusError


def one(subject: str) -> str:
    """Keys are asked for one by one."""
    return subject


def all_below(subject: str) -> str:
    """Everything with the same parent is asked for with `parent.*`."""
    return f"{subject.rpartition('.')[0]}.*"


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
        self._filters: dict[str, None] = {}
        self._reading: asyncio.Task[object] | None = None

    async def newest(self, filters: Sequence[str]) -> list[Value]:
        """The newest value of each subject behind these filters. Raises `Unavailable` or `BusError`."""
        if self._reading is None or len(self._filters) + len(filters) > self._filters_max:
            self._filters = {}
            self._reading = self._spawn(self._read(self._filters))
        self._filters.update(dict.fromkeys(filters))
        found = await asyncio.shield(self._reading)
        assert isinstance(found, dict)
        values: list[Value] = []
        for asked in filters:
            answer: _Values | None = found.get(asked)
            if isinstance(answer, Exception):
                raise answer
            if answer is not None:
                values += answer
        return values

    async def _read(self, filters: dict[str, None]) -> dict[str, _Values]:
        """Begins a turn of the loop later, when all have asked who were about to."""
        if self._filters is filters:
            self._reading = None
        found = await self._values(list(filters))
        if isinstance(found, BusError) and found.status == TOO_MANY and len(filters) > 1:
            return {asked: await self._values([asked]) for asked in filters}
        if isinstance(found, Exception):
            return dict.fromkeys(filters, found)
        values: dict[str, _Values] = {}
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
