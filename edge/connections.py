"""All connections of this edge: admission, the clock that ticks for them, and leaving in order.

A stopping edge sends its sessions away in slices, so that they do not all arrive at the other edges in one
second (AT-64). Who waits for its slice is served meanwhile: the delay that it is told only fills the slice.
"""

from __future__ import annotations

import asyncio
import random

import structlog
from starlette.responses import Response
from starlette.websockets import WebSocket

from edge import metrics, origin
from edge.auth import bearer
from edge.connection import Connection
from edge.core import wire_errors
from edge.core.limits import Bucket, Rate
from edge.http.problems import respond
from edge.node import Node
from edge.websocket import EXTENSION, EdgeProtocol
from shared.errors import Forbidden, ParleyError, RateLimited, Unavailable

TICK_MAX_S = 1.0
TICKS_OF_HEARTBEAT = 8
SLICES = 20
LAST_WORDS_S = 5.0
_log = structlog.get_logger()


class Connections:
    """One per edge. Its endpoint is the WebSocket route; `tick` runs beside it; `drain` ends it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._open: set[Connection] = set()
        self._events_of_closed = 0
        self._events_counted = 0
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()
        settings = node.settings
        self._admission = Bucket(
            "sessions",
            Rate(settings.sessions_rate, settings.sessions_burst),
            at_s=asyncio.get_running_loop().time(),
        )

    def __len__(self) -> int:
        return len(self._open)

    async def endpoint(self, websocket: WebSocket) -> None:
        """An upgrade request: refused before it costs anything, or served to its end."""
        try:
            self._admit(websocket)
        except ParleyError as error:
            metrics.SESSIONS_REFUSED.labels(error.limit or error.code).inc()
            await websocket.send_denial_response(_denial(error))
            return
        await websocket.accept()
        wire = websocket.scope["extensions"][EXTENSION]
        assert isinstance(wire, EdgeProtocol)
        connection = Connection(self._node, wire, bearer(websocket.headers.get("authorization")))
        self._open.add(connection)
        self._empty.clear()
        metrics.SESSIONS.set(len(self._open))
        try:
            await connection.run(websocket.receive)
        finally:
            self._open.discard(connection)
            self._events_of_closed += connection.events
            metrics.SESSIONS.set(len(self._open))
            if not self._open:
                self._empty.set()

    async def tick(self) -> None:
        """Heartbeats and deadlines of all sessions, and the count of what they were sent, for ever."""
        loop = asyncio.get_running_loop()
        every_s = min(TICK_MAX_S, self._node.settings.heartbeat_s / TICKS_OF_HEARTBEAT)
        while True:
            await asyncio.sleep(every_s)
            now_s = loop.time()
            events = self._events_of_closed
            for connection in tuple(self._open):
                connection.tick(now_s)
                events += connection.events
            metrics.DELIVERED.inc(events - self._events_counted)
            self._events_counted = events

    async def drain(self) -> None:
        """Refuse newcomers, send everybody away spread over `drain_s`, and wait until they are gone."""
        self._draining = True
        drain_s = self._node.settings.drain_s
        leaving = list(self._open)
        random.shuffle(leaving)
        _log.info("edge.drain_began", sessions=len(leaving))
        size = max(1, -(-len(leaving) // SLICES))
        slice_s = drain_s / SLICES
        for start in range(0, len(leaving), size):
            for connection in leaving[start : start + size]:
                back_ms = int(random.uniform(0, slice_s) * 1000)
                connection.close(wire_errors.GOING_AWAY, back_ms)
            if start + size < len(leaving):
                await asyncio.sleep(slice_s)
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await self._empty.wait()
        except TimeoutError:
            for connection in tuple(self._open):
                connection.wire.abort()
        _log.info("edge.drained")

    def _admit(self, websocket: WebSocket) -> None:
        """Raises `Forbidden` for a foreign page, `Unavailable` or `RateLimited` for too many sessions."""
        settings = self._node.settings
        headers = websocket.headers
        if not origin.allowed(headers.get("origin"), headers.get("host"), settings.allowed_origins):
            raise Forbidden("pages of this origin may not connect", limit="origin")
        if self._draining:
            raise Unavailable("this edge is leaving", retry_after_ms=1000, limit="draining")
        if len(self._open) >= settings.sessions_max:
            raise Unavailable("this edge is full", retry_after_ms=5000, limit="sessions_max")
        self._admission.take(asyncio.get_running_loop().time())


def _denial(error: ParleyError) -> Response:
    """The answer to an upgrade: too many sessions is 503, whatever the bucket calls it."""
    if isinstance(error, RateLimited):
        error = Unavailable(error.message, retry_after_ms=error.retry_after_ms, limit=error.limit)
    return respond(error)
