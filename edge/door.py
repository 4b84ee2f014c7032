"""Where connections come in: as a WebSocket at once, or through uvicorn's HTTP protocol.

A request for an upgrade is judged and answered here, before an ASGI application or a task exists: what
`core/handshake` says of its form, then what the edge says of its origin and of the room it has left (503 with
`Retry-After`). Everything else is HTTP and goes on to Starlette. An idle session takes half the memory that
it took through ASGI (see DESIGN.md).

`Door` knows the plain form in which nearly every client asks. What is written in any other way, or comes in
pieces, is read by uvicorn's parser in `HttpDoor`, which has the last word on what is refused: it grants all
that `Door` grants (a property test holds the two against each other), at three times the cost.

A head that does not end is refused when it is too large (431), and when it takes too long (408): uvicorn
bounds neither. Behind a refusal the connection is closed in our direction only, until the other side has
closed it too or has had its time: closing it while bytes of theirs are unread would make the kernel send a
reset, which can overtake the answer (RFC 9112, 9.6).

What of uvicorn is used beyond its interface is listed, and held to the pinned version, in
`tests/edge/test_door.py`.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Protocol, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from edge.core import handshake
from edge.http import problems
from edge.websocket import EdgeProtocol
from shared.errors import BadRequest, ParleyError, TooSlow


class Host(Protocol):
    """The edge, as the door sees it."""

    frame_bytes_max: int
    doors: dict[Door | HttpDoor, float]
    """Those at which a request, or the end of a refused one, is expected; since when, in that order."""

    def admit(self, upgrade: handshake.Upgrade) -> None:
        """Raises a `ParleyError` if there is no entry."""

    def refused(self, error: ParleyError) -> None:
        """There was none."""

    def serve(self, wire: EdgeProtocol, upgrade: handshake.Upgrade) -> None:
        """The connection is open."""


class Door(asyncio.Protocol):
    """One connection, until its first bytes have come."""

    __slots__ = ("app_state", "config", "host", "loop", "server_state", "transport")

    def __init__(
        self,
        host: Host,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.host = host
        self.config = config
        self.server_state = server_state
        self.app_state = app_state
        self.loop = _loop or asyncio.get_running_loop()
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # until `connection_made`

    def too_slow(self) -> None:
        """Nothing has come in time."""
        self.host.doors.pop(self, None)
        self.transport.abort()

    def shutdown(self) -> None:
        """uvicorn stops."""
        self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody is there."""
        self.transport = cast(asyncio.Transport, transport)
        self.server_state.connections.add(self)  # type: ignore[arg-type]  # it is only shut down
        self.host.doors[self] = self.loop.time()

    def connection_lost(self, _: Exception | None) -> None:
        """Nobody is there any more."""
        self.host.doors.pop(self, None)
        self.server_state.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """The first bytes of a request; behind an upgrade the first frames may stand already."""
        host, state = self.host, self.server_state
        host.doors.pop(self, None)
        state.connections.discard(self)
        asked = handshake.plain(data)
        if asked is not None:
            upgrade, rest = asked
            try:
                host.admit(upgrade)
            except ParleyError as error:
                self._as_http().refuse(error)
            else:
                _open(host, state.connections, self.transport, upgrade, rest)
        else:
            self._as_http().data_received(data)

    def _as_http(self) -> HttpDoor:
        door = HttpDoor(self)
        self.transport.set_protocol(door)
        return door


def _open(
    host: Host, connections: set[Any], transport: asyncio.Transport, upgrade: handshake.Upgrade, rest: bytes
) -> None:
    """The connection is a WebSocket from here on."""
    wire = EdgeProtocol(connections, frame_bytes_max=host.frame_bytes_max)
    wire.connection_made(transport)
    transport.set_protocol(wire)
    wire.write_now(handshake.accepted(upgrade.key))
    host.serve(wire, upgrade)
    if rest:
        wire.data_received(rest)


class HttpDoor(HttpToolsProtocol):
    """One connection as uvicorn reads it, until it has become a WebSocket."""

    def __init__(self, door: Door) -> None:
        """A request begins: it has its time from here on. A WebSocket does without what others need."""
        super().__init__(door.config, door.server_state, door.app_state, door.loop)
        self._host = door.host
        self._head_bytes = 0
        self._refused = False
        self.transport = door.transport
        self.connections.add(self)
        self._host.doors[self] = self.loop.time()

    def too_slow(self) -> None:
        """The request, or its end, has taken its time."""
        if self._head_bytes and not self._refused:
            self.refuse(TooSlow("the request did not arrive in time"))
        else:
            self._host.doors.pop(self, None)
            self.transport.abort()

    # ------------------------------------------------------------ called by uvicorn

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._host.doors.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request; behind an upgrade the first frames may stand already."""
        if self._refused:
            return
        self._unset_keepalive_if_required()
        self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._upgrade(data[upgrade.args[0] :])
                return
        except httptools.HttpParserError:
            self.refuse(BadRequest("this is no HTTP request"))
            return
        if self not in self._host.doors:
            self._head_bytes = 0
        elif self._head_bytes > handshake.HEAD_BYTES_MAX:
            self.refuse(handshake.too_large())

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._host.doors.setdefault(self, self.loop.time())

    def on_headers_complete(self) -> None:
        """Its head is here."""
        self._host.doors.pop(self, None)
        if not (self.parser.should_upgrade() and self._should_upgrade()):
            self._become_http()
        super().on_headers_complete()

    def _become_http(self) -> None:
        """What uvicorn looks up as soon as somebody is there."""
        if self.scheme is None:
            super().connection_made(self.transport)
            self.scope["client"], self.scope["server"] = self.client, self.server
            self.scope["scheme"] = self.scheme or "http"

    def _should_upgrade(self) -> bool:
        return self._get_upgrade() == b"websocket"

    def _upgrade(self, rest: bytes) -> None:
        try:
            if self.cycle is not None and not self.cycle.response_complete:
                raise BadRequest("an upgrade has to wait for the answer before it")
            upgrade = handshake.judge(
                self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers
            )
            self._host.admit(upgrade)
        except ParleyError as error:
            self.refuse(error)
            return
        self.connections.discard(self)
        _open(self._host, self.connections, self.transport, upgrade, rest)

    def refuse(self, error: ParleyError) -> None:
        """Answer, and let the other side hang up."""
        self._host.doors.pop(self, None)
        self._host.refused(error)
        if self.transport.is_closing():
            return
        self._refused = True
        response = problems.respond(error)
        head = b"".join(b"%b: %b\r\n" % header for header in response.raw_headers)
        status = HTTPStatus(response.status_code)
        line = f"HTTP/1.1 {status.value} {status.phrase}\r\nconnection: close\r\n"
        self.transport.write(line.encode() + head + b"\r\n" + bytes(response.body))
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._host.doors[self] = self.loop.time()
        else:
            self.transport.close()
