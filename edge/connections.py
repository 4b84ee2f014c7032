"""All connections of this edge: admission, the clock that ticks for them, and leaving in order.

A stopping edge sends its sessions away in slices, so that they do not all arrive at the other edges in one
second (AT-64). Who waits for its slice is served meanwhile: the delay that it is told only fills the slice.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque

import structlog

from edge import metrics, origin
from edge.auth import bearer
from edge.connection import Connection
from edge.core import wire_errors
from edge.core.admission import Admission
from edge.core.handshake import Upgrade
from edge.core.limits import Rate
from edge.core.rounds import Rounds
from edge.door import Door, HttpDoor
from edge.node import Node
from edge.websocket import EdgeProtocol
from shared.errors import Forbidden, ParleyError, Unavailable

TICK_MAX_S = 0.5
TICKS_OF_HEARTBEAT = 16
SLICES = 20
LAST_WORDS_S = 5.0
LET_IN_S = 2.0
_log = structlog.get_logger()


class Connections:
    """One per edge: who comes in through the door is served here; `tick` runs beside it; `drain` ends it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.frame_bytes_max = node.settings.frame_bytes_max
        self.doors: dict[Door | HttpDoor, float] = {}
        self._every_s = min(TICK_MAX_S, node.settings.heartbeat_s / TICKS_OF_HEARTBEAT)
        self._open: Rounds[Connection] = Rounds(asyncio.get_running_loop().time(), self._every_s)
        """Each until it is over; what time demands of it is looked at when it may be due."""
        self._pinged: deque[tuple[float, list[Connection]]] = deque(maxlen=TICKS_OF_HEARTBEAT)
        """Who owes an answer is looked at again, at these times; there are 13 at most."""
        self._leaving: dict[Connection, asyncio.Task[None]] = {}
        self._on_over = self._over  # one for all
        metrics.SUBSCRIPTIONS.set_function(lambda: sum(connection.channels for connection in self._open))
        metrics.UNSENT.set_function(lambda: sum(each.wire.buffered_bytes for each in self._open))
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()
        settings = node.settings
        self._admission = Admission(
            Rate(settings.sessions_rate, settings.sessions_burst), asyncio.get_running_loop().time()
        )

    def __len__(self) -> int:
        return len(self._open) + len(self._leaving)

    # ------------------------------------------------------------ called by the door

    def admit(self, upgrade: Upgrade) -> None:
        """Raises `Forbidden` for a foreign page, `Unavailable` for one session too many."""
        settings = self._node.settings
        asked_by = upgrade.origin
        if asked_by is not None and not origin.allowed(asked_by, upgrade.host, settings.allowed_origins):
            raise Forbidden("pages of this origin may not connect", limit="origin")
        if self._draining:
            raise Unavailable("this edge is leaving", retry_after_ms=1000, limit="draining")
        if len(self) >= settings.sessions_max:
            raise Unavailable("this edge is full", retry_after_ms=5000, limit="sessions_max")
        now_s = asyncio.get_running_loop().time()
        self._admission.enter(now_s, self._node.rush.behind_s(now_s))

    def refused(self, error: ParleyError) -> None:
        """Somebody was not let in."""
        metrics.SESSIONS_REFUSED.labels(error.limit or error.code).inc()

    def serve(self, wire: EdgeProtocol, upgrade: Upgrade) -> None:
        """A connection was opened: it is served to its end."""
        now_s = asyncio.get_running_loop().time()
        connection = Connection(self._node, wire, bearer(upgrade.authorization), self._on_over)
        self._open.put(connection, connection.tick(now_s))
        self._empty.clear()

    def _over(self, connection: Connection) -> None:
        self._open.drop(connection)
        self._leaving[connection] = asyncio.create_task(self._left(connection))

    async def _left(self, connection: Connection) -> None:
        try:
            await connection.leave()
        finally:
            del self._leaving[connection]
            if not len(self):
                self._empty.set()

    async def tick(self) -> None:
        """Heartbeats and deadlines of all sessions, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._every_s)
            now_s = loop.time()
            self._look(now_s)
            for door, since_s in tuple(self.doors.items()):
                if now_s - since_s < self._node.settings.hello_deadline_s:
                    break
                door.too_slow()
            metrics.SESSIONS.set(len(self))

    def _look(self, now_s: float) -> None:
        """Tick for those whose time has come, and for those who have not answered a ping in time."""
        while self._pinged and self._pinged[0][0] <= now_s:
            for connection in self._pinged.popleft()[1]:
                if connection.owes_answer and connection in self._open:
                    self._tick(connection, now_s)
        looked_at = [connection for connection in self._open.take(now_s) if self._tick(connection, now_s)]
        self._pinged.append((now_s + self._node.timing.answer_s, looked_at))

    def _tick(self, connection: Connection, now_s: float) -> bool:
        """Whether it goes on after that."""
        due_s = connection.tick(now_s)
        if connection in self._leaving:
            return False
        self._open.put(connection, due_s)
        return True

    async def let_in(self) -> None:
        """Hear who came before the shared port was closed, for a moment: none of them is refused."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + LET_IN_S
        while True:
            await asyncio.sleep(LET_IN_S / TICKS_OF_HEARTBEAT)
            if not self.doors or loop.time() >= until_s:
                return

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
            for connection in (*self._open, *self._leaving):
                connection.wire.abort()
        _log.info("edge.drained")
