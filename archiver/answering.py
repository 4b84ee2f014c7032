"""When an archiver begins to answer for a partition, and when it ends.

A writer is often the only one, and answers at once. A reader may be one of several: it keeps out of the queue
group until it has what the log holds, so that nobody waits for the one that has just started. Search follows
when its index is there, which may have to be made first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from archiver.api import Api
from archiver.read_index import ReadIndex
from archiver.search.api import SearchApi
from archiver.takeover import Takeover
from shared.bus import Bus, BusError, Subscription
from shared.errors import Unavailable
from shared.health import Health
from shared.ids import Partition

AGAIN_S = 0.5

_log = structlog.get_logger()


class Answering:
    """Of one partition; `end` it in any case."""

    def __init__(self, bus: Bus, api: Api, health: Health, partition: Partition) -> None:
        self._bus = bus
        self._api = api
        self._health = health
        self._partition = partition
        self._begun: list[Subscription] = []

    async def begin(self) -> None:
        """Answer everything from now on. Raises `Unavailable`."""
        await self._serve()
        await self._serve_search()
        await self._bus.flush()  # who finds us ready finds our subscriptions
        self._health.set(f"archive {self._partition}", True, "following")

    async def begin_when_caught_up(self, takeover: Takeover, index: ReadIndex, search: SearchApi) -> None:
        """Answer pages and whatever else is known, then search, each once it is at the end of the log."""
        await self._until(index.now, is_needed=True)
        await self._until(self._serve, is_needed=True)
        await self._until(self._bus.flush, is_needed=True)
        takeover.answers = True
        self._health.set(f"archive {self._partition}", True, "following")
        _log.info("reader.answers", partition=self._partition)
        await self._until(search.ready)
        await self._until(self._serve_search)
        _log.info("reader.answers_search", partition=self._partition)

    async def end(self) -> None:
        """Answer nothing more."""
        for subscription in self._begun:
            await subscription.unsubscribe()

    async def _serve(self) -> None:
        self._begun += await self._api.serve(self._bus)

    async def _serve_search(self) -> None:
        self._begun += await self._api.serve_search(self._bus)

    async def _until(self, done: Callable[[], Awaitable[object]], *, is_needed: bool = False) -> None:
        while True:
            try:
                await done()
                return
            except (Unavailable, BusError) as error:
                if is_needed:
                    self._health.set(f"archive {self._partition}", False, error.message)
                await asyncio.sleep(AGAIN_S)
