"""What a query's process reads of an archive in a bucket: it asks over sockets, the archiver fetches.

So the key stays here. A process names a file by its place in the query's list, and gets bytes that lie in it
or a refusal; on each socket one piece is on its way at a time. All that is asked for is charged.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from archiver.metrics import SQL_READ_BYTES, SQL_READS
from archiver.sandbox_files import ANSWER, FAILED, HERE, PIECE_BYTES_MAX, REFUSED, REQUEST
from archiver.threads import Threads
from shared.archive_store import Store

CHARGE_BYTES_MIN = 64 * 1024
"""What the smallest piece counts: so the bound on bytes is one on requests, too."""

_log = structlog.get_logger()


class Stored(NamedTuple):
    """A file of the archive: its name in the store, its size."""

    name: str
    size: int


class Reads:
    """Of one process. Nothing is answered before `begin`."""

    def __init__(self, store: Store, threads: Threads, *, links: int, bytes_max: int) -> None:
        self._store = store
        self._threads = threads
        self._left = bytes_max
        self._files: Sequence[Stored] = ()
        self._exceeded: Callable[[], None] = lambda: None
        pairs = [socket.socketpair() for _ in range(links)]
        self._ours = [ours for ours, _ in pairs]
        self._theirs = [theirs for _, theirs in pairs]
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def descriptors(self) -> list[int]:
        """Of the process's ends."""
        return [theirs.fileno() for theirs in self._theirs]

    def handed_over(self) -> None:
        """The process has its ends: it alone holds them now."""
        for theirs in self._theirs:
            theirs.close()

    def begin(self, files: Sequence[str], sizes: Sequence[int], exceeded: Callable[[], None]) -> None:
        """Answer about these, of which the location is given; `exceeded` is called if too much is read."""
        root = self._store.location + "/"
        self._files = [Stored(path.removeprefix(root), size) for path, size in zip(files, sizes, strict=True)]
        self._exceeded = exceeded
        self._tasks = [asyncio.create_task(self._serve(ours)) for ours in self._ours]

    async def end(self) -> None:
        """Answer nothing more; what is being fetched is thrown away."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in (*self._ours, *self._theirs):
            link.close()

    async def _serve(self, link: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=link)
        try:
            while True:
                kind, body = await self._answer(*REQUEST.unpack(await reader.readexactly(REQUEST.size)))
                writer.write(ANSWER.pack(kind, len(body)) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the process has ended
        finally:
            writer.transport.abort()

    async def _answer(self, number: int, offset: int, length: int) -> tuple[bytes, bytes]:
        self._left -= max(length, CHARGE_BYTES_MIN)
        if self._left < 0:
            self._exceeded()
        if self._left < 0 or not self._is_pinned(number, offset, length):
            SQL_READS.labels("refused").inc()
            return REFUSED, b""
        try:
            body = await self._threads.run(self._store.piece, self._files[number].name, offset, length)
        except OSError as error:
            SQL_READS.labels("failed").inc()
            _log.warning("sandbox.read_failed", file=self._files[number].name, error=str(error))
            return FAILED, b""
        SQL_READS.labels("answered").inc()
        SQL_READ_BYTES.inc(len(body))
        return HERE, body

    def _is_pinned(self, number: int, offset: int, length: int) -> bool:
        return (
            number < len(self._files)
            and 0 < length <= PIECE_BYTES_MAX
            and offset + length <= self._files[number].size
        )
