"""Users' SQL on NATS: any archiver opens a query, and hands its result out piece by piece while it is asked.

What a query may read is asked of all partitions before their manifests are pinned: so nobody reads what was
written after their removal. A query holds a place until its end was handed out; each has an end: its last
piece, a bound, silence of whoever asked, or a `close`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from archiver.metrics import REQUESTS, SQL_QUERIES, SQL_RUNNING, SQL_SECONDS
from archiver.requests import parsed
from archiver.sandbox import Child, Frame, Sandbox
from archiver.settings import ArchiverSettings
from archiver.threads import Threads
from shared.archive_files import pin
from shared.archive_store import Store
from shared.bus import Bus, Subscription
from shared.errors import ParleyError, RateLimited, TooLarge, Unavailable
from shared.failures import failure_of, reply_of
from shared.ids import ChannelId, Partition, UserId, WorkspaceId
from shared.records import ReadableReply, ReadableRequest
from shared.sql_records import (
    SQL_END,
    SQL_PIECE,
    SQL_WAIT,
    SqlClose,
    SqlNext,
    SqlOpened,
    SqlRequest,
)
from shared.subjects import archive_subject

QUEUE = "archive"
WAIT_S = 2.0
"""A piece that takes longer is asked for again: nobody waits for an answer for long."""

READABLE_TIMEOUT_S = 5.0
_Who = tuple[WorkspaceId, UserId]


@dataclass(slots=True)
class _Query:
    who: _Who
    child: Child
    deadline: asyncio.TimerHandle
    idle: asyncio.TimerHandle
    began_s: float
    piece: int = -1
    answer: bytes = b""
    """The piece with that number: an answer may be lost, then it is asked for again."""
    coming: asyncio.Task[Frame] | None = None
    over: bool = False


class Queries:
    """Those that this process runs."""

    def __init__(
        self,
        bus: Bus,
        settings: ArchiverSettings,
        store: Store,
        sandbox: Sandbox,
        disk: Threads,
        partitions: int,
    ) -> None:
        self._bus = bus
        self._settings = settings
        self._store = store
        self._sandbox = sandbox
        self._disk = disk
        self._partitions = partitions
        self._at = f"sql-{secrets.token_hex(8)}"
        self._queries: dict[str, _Query] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._taken: Counter[_Who] = Counter()

    async def serve(self) -> list[Subscription]:
        """Begin to take queries. Raises `Unavailable`."""
        if not self._settings.sql_queries_max:
            return []
        return [
            await self._serve("sql", "open", self.open, QUEUE),
            await self._serve(self._at, "next", self.next, ""),
            await self._serve(self._at, "close", self.close, ""),
        ]

    async def end(self) -> None:
        """Kill what runs."""
        for name in tuple(self._queries):
            await self._forget(name, "stopped")
        await self._sandbox.close()

    async def open(self, body: bytes) -> bytes:
        """Start a query; its result is asked for with `next`."""
        request = parsed(SqlRequest, body)
        who = (request.workspace, request.user)
        self._check(request, who)
        self._taken[who] += 1
        SQL_RUNNING.set(self._taken.total())
        try:
            channels = await self._readable(*who)
            pinned = await self._disk.run(pin, self._store)
            child = await self._sandbox.take()
        except BaseException:
            self._release(who)
            raise
        child.ask(
            {
                "query": request.query,
                "format": request.format,
                "workspace": request.workspace,
                "channels": sorted(channels),
                "files": pinned.files,
                "sizes": list(pinned.sizes.values()),
                "output_bytes": self._settings.sql_output_bytes,
            }
        )
        return self._opened(who, child).model_dump_json().encode()

    async def next(self, body: bytes) -> bytes:
        """A piece of a result, the end, or the error that took its place."""
        request = parsed(SqlNext, body)
        query = self._queries.get(request.query)
        if query is None or request.piece not in {query.piece, query.piece + 1}:
            raise Unavailable("this query is over: begin anew")
        self._hear(request.query, query)
        if request.piece > query.piece:
            query.coming = query.coming or asyncio.create_task(query.child.frame())
            await asyncio.wait([query.coming], timeout=WAIT_S)
            if request.piece > query.piece:  # else somebody who asked for the same took it
                if not query.coming.done():
                    return SQL_WAIT
                await self._take(query, query.coming)
        return query.answer

    async def close(self, body: bytes) -> bytes:
        """Nobody wants the rest."""
        await self._forget(parsed(SqlClose, body).query, "closed")
        return b"{}"

    def _check(self, request: SqlRequest, who: _Who) -> None:
        settings = self._settings
        if len(request.query.encode(errors="replace")) > settings.sql_bytes_max:
            raise TooLarge(f"the query has more than {settings.sql_bytes_max} bytes", limit="sql_bytes")
        if self._taken[who] >= settings.sql_user_queries_max:
            raise RateLimited(
                f"at most {settings.sql_user_queries_max} queries of yours run at once",
                retry_after_ms=1000,
                limit="sql_user_queries",
            )
        if self._taken.total() >= settings.sql_queries_max:
            raise Unavailable("too many SQL queries run", retry_after_ms=1000, limit="sql_queries")

    def _opened(self, who: _Who, child: Child) -> SqlOpened:
        loop = asyncio.get_running_loop()
        name = secrets.token_hex(16)
        self._queries[name] = _Query(
            who,
            child,
            deadline=loop.call_later(self._settings.sql_time_s, child.expire),
            idle=loop.call_later(self._settings.sql_idle_s, self._lose, name),
            began_s=time.monotonic(),
        )
        return SqlOpened(at=self._at, query=name)

    def _hear(self, name: str, query: _Query) -> None:
        query.idle.cancel()
        query.idle = asyncio.get_running_loop().call_later(self._settings.sql_idle_s, self._lose, name)

    async def _take(self, query: _Query, coming: asyncio.Task[Frame]) -> None:
        query.coming = None
        try:
            frame = coming.result()
        except ParleyError as error:
            query.answer = failure_of(error)
            outcome = error.limit or error.code
        else:
            query.answer = SQL_PIECE + frame.body if frame.kind == b"D" else SQL_END
            outcome = "" if frame.kind == b"D" else "answered"
        query.piece += 1
        if outcome:
            await self._finish(query, outcome)

    def _lose(self, name: str) -> None:
        ending = asyncio.create_task(self._forget(name, "idle"))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _forget(self, name: str, outcome: str) -> None:
        query = self._queries.pop(name, None)
        if query is not None:
            query.idle.cancel()
            await self._finish(query, outcome)

    async def _finish(self, query: _Query, outcome: str) -> None:
        """The process ends and its place is free; what was said last can still be asked for."""
        if query.over:
            return
        query.over = True
        query.deadline.cancel()
        await query.child.kill()
        if query.coming is not None:
            with contextlib.suppress(ParleyError):
                await query.coming
        self._release(query.who)
        SQL_QUERIES.labels(outcome).inc()
        SQL_SECONDS.observe(time.monotonic() - query.began_s)

    def _release(self, who: _Who) -> None:
        self._taken[who] -= 1
        self._taken = +self._taken
        SQL_RUNNING.set(self._taken.total())

    async def _readable(self, workspace: WorkspaceId, user: UserId) -> set[ChannelId]:
        asked = (self._readable_of(Partition(number), workspace, user) for number in range(self._partitions))
        return set().union(*await asyncio.gather(*asked))

    async def _readable_of(
        self, partition: Partition, workspace: WorkspaceId, user: UserId
    ) -> set[ChannelId]:
        found: set[ChannelId] = set()
        after: ChannelId | None = None
        while True:
            request = ReadableRequest(workspace=workspace, user=user, after=after)
            body = await self._bus.request(
                archive_subject(partition, "readable"),
                request.model_dump_json().encode(),
                timeout_s=READABLE_TIMEOUT_S,
            )
            reply = reply_of(body, ReadableReply, may_refuse=False)
            found.update(reply.channels)
            if not reply.more:
                return found
            after = reply.channels[-1]

    async def _serve(
        self, at: str, operation: str, answer: Callable[[bytes], Awaitable[bytes]], queue: str
    ) -> Subscription:
        counted = REQUESTS.labels(f"sql.{operation}")

        async def handle(body: bytes) -> bytes:
            counted.inc()
            return await answer(body)

        return await self._bus.serve(archive_subject(at, operation), handle, queue=queue, concurrency_max=256)
