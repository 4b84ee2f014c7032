"""A read index: the end of a log as of now, so that an answer covers whatever was acknowledged before.

The leader of the stream is asked, because only it has every acknowledged message, and it is believed if a
majority has just confirmed it: one that was cut off knows nothing of what its successor has. Whoever comes
while a question is under way needs a later one, and all who wait for that share it.
"""

from __future__ import annotations

import asyncio

from archiver.ingest import Ingest
from shared.bus import Bus, BusError
from shared.errors import Unavailable
from shared.ids import StreamSeq
from shared.subjects import log_stream


class ReadIndex:
    """Of one partition. At most two questions exist: one under way, and the next."""

    def __init__(self, bus: Bus, ingest: Ingest) -> None:
        self._bus = bus
        self._ingest = ingest
        self._stream = log_stream(ingest.archive.partition)
        self._asking: asyncio.Task[StreamSeq] | None = None
        self._next: asyncio.Task[StreamSeq] | None = None

    async def now(self) -> StreamSeq:
        """The last sequence that the log had given when this was called; it is applied by now.

        Raises `Unavailable` if nobody says it, or if the archive does not get there in time.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._ask(self._asking))
        last = await asyncio.shield(self._next)
        await self._ingest.applied(last)
        return last

    async def _ask(self, before: asyncio.Task[StreamSeq] | None) -> StreamSeq:
        if before is not None:
            await asyncio.wait([before])
        self._asking, self._next = self._next, None  # from here on it is too late to share this one
        try:
            return await self._bus.confirmed_end(self._stream)
        except BusError as error:
            raise Unavailable(f"{self._stream}: {error.message}", retry_after_ms=1000) from error
        finally:
            self._asking = None
