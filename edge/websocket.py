"""uvicorn's WebSocket protocol, opened up: frames that are encoded once, and closes that really end.

uvicorn constructs this class for every upgraded connection; it puts itself into the ASGI scope
(`scope["extensions"]["parley"]`), so that a session can write bytes that many recipients share straight to
the transport. Compression is off, so a plain text frame is right on every connection.

Backpressure: the write buffer's high mark is 0. `pause_writing` therefore means "the kernel did not take
everything", `resume_writing` "it has everything now". The kernel's own share is bounded with SO_SNDBUF and
TCP_NOTSENT_LOWAT; without them a stalled reader hides 4 MB there.

uvicorn closes a connection by `transport.close()`, which waits for ever when the peer does not read; every
close here is followed by `abort()` at a deadline.

What of uvicorn is used beyond its interface: conn, transport, writable, close_sent, close_timer, queue,
handshake_complete, read_paused, frames, curr_msg_data_type, and the methods that are overridden.
`tests/edge/test_websocket.py` holds them to what this file believes, at every bump of the pinned version.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from asyncio.transports import BaseTransport
from collections.abc import Callable
from typing import Protocol

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.protocol import State

from edge.core import codec, wire_errors
from edge.core.server_frames import Bye
from edge.core.wire_errors import CloseCode

EXTENSION = "parley"
SEND_BUFFER_BYTES = 32 * 1024
UNSENT_BYTES = 16 * 1024
USER_TIMEOUT_MS = 30_000
CLOSE_DEADLINE_S = 5.0
"""From the first sign of a close until the connection is cut, whatever the peer does."""


class Listener(Protocol):
    """Who wants to know what happens on a connection. All calls are synchronous, on the loop."""

    def heard(self) -> None:
        """Bytes arrived."""

    def stalled(self) -> None:
        """The kernel takes no more bytes."""

    def flowing(self) -> None:
        """The kernel has taken everything."""


def bye_frame(code: CloseCode, retry_after_ms: int | None = None) -> bytes:
    """The `bye` that precedes a close (P10), framed."""
    bye = Bye(code=code.code, reason=code.name, resumable=code.resumable, retry_after_ms=retry_after_ms)
    return codec.text_frame(codec.encode(bye))


_STANDARD_BYES = {code.code: bye_frame(code) for code in (wire_errors.BAD_TEXT, wire_errors.FRAME_TOO_LARGE)}


class EdgeProtocol(WebSocketsSansIOProtocol):
    """One connection. Everything public here runs on the loop and never blocks."""

    listener: Listener | None = None
    take: Callable[[str], None] | None = None
    """Who takes frames where they are read; without it they go through uvicorn's queue."""
    abort_timer: asyncio.TimerHandle | None = None
    closed_with: int | None = None
    bytes_written = 0
    is_flowing = True
    """Whether the kernel has taken everything that was written: what `writable` says, without asking it."""
    _unsent: list[bytes]
    _fd = -1
    """The plain socket, as long as it is ours alone to write to."""

    # ------------------------------------------------------------ for the session

    @property
    def is_open(self) -> bool:
        """Whether a text frame may be written now."""
        return (
            self.handshake_complete
            and not self.close_sent
            and self.conn.state is State.OPEN
            and not self.transport.is_closing()
        )

    @property
    def buffered_bytes(self) -> int:
        """What waits in this process for the kernel."""
        unsent = sum(map(len, self._unsent)) if self._unsent else 0
        return unsent + (0 if self.is_flowing else self.transport.get_write_buffer_size())

    async def drained(self) -> None:
        """Returns when the kernel has taken everything, or the connection is lost."""
        self.flush()
        await self.writable.wait()

    def write(self, frames: bytes) -> None:
        """Write whole frames, together with what else comes up in this turn of the loop.

        One system call for all acks and events of a turn; nothing happens once a close has begun.
        """
        if not self._unsent:
            self.loop.call_soon(self.flush)
        self._unsent.append(frames)

    def write_now(self, frames: bytes) -> None:
        """Write whole frames at once, unless others wait already: nothing may overtake them."""
        if self._unsent:
            self._unsent.append(frames)
        elif self.is_open:
            self._put(frames)

    def flush(self) -> None:
        """Hand over now what `write` has collected."""
        if not self._unsent:
            return
        frames = b"".join(self._unsent)
        self._unsent.clear()
        if self.is_open:
            self._put(frames)

    def _put(self, frames: bytes) -> None:
        """Straight to the kernel; what it does not take goes to the transport, which also finds errors.

        A third cheaper than the transport, which has to hold what it is given before it tries.
        """
        self.bytes_written += len(frames)
        if self._fd >= 0 and not self.transport.get_write_buffer_size():
            try:
                taken = os.write(self._fd, frames)
            except OSError:
                taken = 0
            if taken == len(frames):
                return
            frames = frames[taken:]
        self.transport.write(frames)

    def close_with(self, code: CloseCode, retry_after_ms: int | None = None) -> None:
        """Say `bye`, close with our code, and cut the connection if the peer does not finish in time."""
        if not self.is_open:
            return
        self.write(bye_frame(code, retry_after_ms))
        self.flush()
        self.closed_with = code.code
        self.conn.send_close(code.code, code.name)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code.code, "reason": code.name})
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        # Also keeps `run_asgi` from closing the transport before the peer has answered.
        self.close_timer = self.loop.call_later(CLOSE_DEADLINE_S, self.transport.abort)

    def abort(self) -> None:
        """Cut the connection now."""
        self.transport.abort()

    @property
    def is_queueing(self) -> bool:
        """Whether frames wait in uvicorn's queue."""
        return not self.queue.empty()

    def pause_reading(self) -> None:
        """Leave what the client sends in its socket."""
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self.read_paused and not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()

    # ------------------------------------------------------------ called by uvicorn

    def connection_made(self, transport: BaseTransport) -> None:
        """A connection was upgraded."""
        super().connection_made(transport)
        self._unsent = []
        self.transport.set_write_buffer_limits(high=0)
        found = self.transport.get_extra_info("socket")
        if found is not None:
            _bound_kernel_buffers(found)
            if self.transport.get_extra_info("sslcontext") is None:
                self._fd = found.fileno()

    def handle_connect(self, event: object) -> None:
        """The upgrade request: the application finds this object in its scope."""
        super().handle_connect(event)  # type: ignore[arg-type]
        if hasattr(self, "scope"):
            extensions: dict[str, object] = self.scope["extensions"]  # type: ignore[assignment]
            extensions[EXTENSION] = self

    def data_received(self, data: bytes) -> None:
        """Bytes arrived."""
        if self.listener is not None:
            self.listener.heard()
        super().data_received(data)

    def send_receive_event_to_app(self) -> None:
        """A whole message was read. What is no UTF-8 is uvicorn's to refuse."""
        if self.take is None or self.close_sent:
            super().send_receive_event_to_app()
            return
        message = b"".join(self.frames)
        try:
            text = message.decode(errors="strict" if self.curr_msg_data_type == "text" else "replace")
        except UnicodeDecodeError:
            super().send_receive_event_to_app()
            return
        self.frames = []
        self.take(text)

    def pause_writing(self) -> None:
        """The kernel did not take everything."""
        super().pause_writing()
        self.is_flowing = False
        if self.listener is not None:
            self.listener.stalled()

    def resume_writing(self) -> None:
        """The kernel has everything."""
        super().resume_writing()
        self.is_flowing = True
        if self.listener is not None:
            self.listener.flowing()

    def handle_close(self, event: Frame) -> None:
        """The peer closes, or answers our close."""
        if self.closed_with is None and self.conn.close_rcvd is not None:
            self.closed_with = int(self.conn.close_rcvd.code)
        super().handle_close(event)
        self._abort_later()

    def handle_parser_exception(self) -> None:
        """The peer broke the protocol: a frame too large (1009), text that is no UTF-8 (1007), …"""
        self.flush()
        code = self.conn.close_sent.code if self.conn.close_sent is not None else 1002
        self.closed_with = int(code)
        if self.handshake_complete and not self.close_sent and not self.transport.is_closing():
            self.transport.write(_STANDARD_BYES.get(int(code), b""))
        super().handle_parser_exception()
        self._abort_later()

    def shutdown(self) -> None:
        """uvicorn stops. `drain` has moved the sessions away; who is left hears why."""
        if self.is_open:
            self.close_with(wire_errors.GOING_AWAY)
        else:
            super().shutdown()
        self._abort_later(1.0)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._fd = -1  # the number may be somebody else's soon
        if self.abort_timer is not None:
            self.abort_timer.cancel()
        super().connection_lost(exc)

    def _abort_later(self, after_s: float = CLOSE_DEADLINE_S) -> None:
        if self.abort_timer is None and not self.disconnected:
            self.abort_timer = self.loop.call_later(after_s, self.transport.abort)


class _Socket(Protocol):
    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...


def _bound_kernel_buffers(connection: _Socket) -> None:
    with contextlib.suppress(OSError):  # a Unix socket has no TCP options
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        for name, value in (("TCP_NOTSENT_LOWAT", UNSENT_BYTES), ("TCP_USER_TIMEOUT", USER_TIMEOUT_MS)):
            option = getattr(socket, name, _LINUX.get(name))
            if option is not None:
                connection.setsockopt(socket.IPPROTO_TCP, option, value)


_LINUX: dict[str, int] = {"TCP_NOTSENT_LOWAT": 25} if hasattr(socket, "SO_PEERCRED") else {}
