"""One WebSocket behind its handshake: frames that are encoded once, and closes that really end.

`door.py` makes one for every upgrade that it grants. What comes in is read by `FrameStream`; what goes out is
bytes that many recipients share, straight to the socket: without compression they are right for everybody.

Backpressure: the write buffer's high mark is 0. `pause_writing` therefore means "the kernel did not take
everything", `resume_writing` "it has everything now". The kernel's own share is bounded (`socket_options`).

`transport.close()` waits for ever when the peer does not read: every close here is followed by `abort()` at a
deadline.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from edge import descriptors, socket_options
from edge.core import wire_errors
from edge.core.frame_stream import FrameStream
from edge.core.goodbye import STANDARD, bye_frame
from edge.core.wire_errors import CloseCode
from edge.descriptors import FREE
from edge.listener import DEAF, Listener
from edge.turn import this_turn

CLOSE_DEADLINE_S = 5.0
"""From the first sign of a close until the connection is cut, whatever the peer does."""

LADEN_BYTES = 64 * 1024
"""What one turn of the loop writes with one system call: all channels of a resume, mostly."""

FRAMES_OF_READ_MAX = 65_536
"""More than one read of 256 KiB can hold: a client's text frame has at least six bytes."""


class EdgeProtocol(asyncio.Protocol):
    """One connection. Everything public here runs on the loop and never blocks."""

    __slots__ = (
        *("_abort_timer", "_connections", "_drained", "_frames", "_inbox", "_is_over", "_is_reading"),
        *("_turn", "_unsent", "closed_with", "fd", "is_flowing", "listener", "take", "transport"),
    )

    def __init__(self, connections: set[Any], *, frame_bytes_max: int) -> None:
        self._turn = this_turn()
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # until `connection_made`
        self.listener: Listener = DEAF
        self.take: Callable[[str], None] | None = None
        """Who takes frames where they are read; without it they wait for `hand_over`."""
        self.closed_with: int | None = None
        self.is_flowing = True
        """Whether the kernel has taken everything that was written."""
        self._connections = connections
        """uvicorn's, for `shutdown`."""
        self._frames = FrameStream(frame_bytes_max)
        self._unsent: list[bytes] = []
        self.fd = descriptors.NONE
        """The plain socket, as long as it is ours alone to write to."""
        self._inbox: deque[str] | None = None
        self._is_over = False
        self._is_reading = True
        self._drained: asyncio.Future[None] | None = None
        self._abort_timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------ for the session

    @property
    def is_open(self) -> bool:
        """Whether a text frame may be written now."""
        return self._frames.is_open and not self.transport.is_closing()

    @property
    def buffered_bytes(self) -> int:
        """What waits in this process for the kernel."""
        unsent = sum(map(len, self._unsent)) if self._unsent else 0
        return unsent + (0 if self.is_flowing else self.transport.get_write_buffer_size())

    @property
    def is_laden(self) -> bool:
        """Whether whoever has much to write should wait for `drained` before."""
        return not self.is_flowing or self.buffered_bytes > LADEN_BYTES

    async def drained(self) -> None:
        """Returns when the kernel has taken everything, or the connection is lost."""
        self.flush()
        while not self.is_flowing:
            if self._drained is None:
                self._drained = self._turn.loop.create_future()
            await asyncio.shield(self._drained)

    def hand_over(self, take: Callable[[str], None]) -> None:
        """Give `take` the texts that wait, and from now on each where it is read."""
        self.take, inbox, self._inbox = take, self._inbox or (), None
        self.resume_reading()
        for text in inbox:
            self._on_text(text)

    def write(self, frames: bytes) -> None:
        """Write whole frames, together with what else comes up in this turn of the loop.

        One system call for all acks and events of a turn; nothing happens once a close has begun.
        """
        if not self._unsent:
            self._turn.flush(self)
            FREE[self.fd] = False
        self._unsent.append(frames)

    def write_now(self, frames: bytes) -> None:
        """As `write`, for what has nothing to wait for in this turn."""
        if FREE[self.fd]:
            self._put(frames)
        else:
            self.write(frames)

    def write_rest(self, rest: bytes) -> None:
        """What the kernel did not take of frames that were written past this object."""
        self.transport.write(rest)

    def flush(self) -> None:
        """Hand over now what `write` has collected."""
        if not self._unsent:
            return
        frames = b"".join(self._unsent)
        self._unsent.clear()
        if self.is_open:
            FREE[self.fd] = self.fd and self.is_flowing
            self._put(frames)

    def _tell_free(self) -> None:
        """Whether our socket may be written to past this object."""
        FREE[self.fd] = self.fd and self.is_flowing and not self._unsent and self.is_open

    def _put(self, frames: bytes) -> None:
        """Straight to the kernel; what it does not take goes to the transport, which also finds errors.

        A third cheaper than the transport, which has to hold what it is given before it tries.
        """
        if self.fd and self.is_flowing:
            try:
                taken = os.write(self.fd, frames)
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
        self._frames.close(code.code, code.name)
        self._end()

    def abort(self) -> None:
        """Cut the connection now."""
        self.transport.abort()

    def pause_reading(self) -> None:
        """Leave what the client sends in its socket."""
        if self._is_reading and not self.transport.is_closing():
            self._is_reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if not self._is_reading and not self.transport.is_closing():
            self._is_reading = True
            self.transport.resume_reading()

    # ------------------------------------------------------------ called by the loop, and by uvicorn

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection was upgraded."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self._connections.add(self)
        self.transport.set_write_buffer_limits(high=0)
        found = self.transport.get_extra_info("socket")
        if found is not None:
            socket_options.bound(found)
        if found is not None and self.transport.get_extra_info("sslcontext") is None:
            self.fd = found.fileno()
            descriptors.register(self.fd)
            self._tell_free()

    def data_received(self, data: bytes) -> None:
        """Bytes arrived."""
        self.listener.heard()
        frames = self._frames
        for text in frames.feed(data):
            self._on_text(text)
        if frames.broken_with is not None:
            self._broken(frames.broken_with)
        elif frames.closed_by_peer_with is not None:
            self._closed(frames.closed_by_peer_with)
        else:
            self._flush_control()

    def _on_text(self, text: str) -> None:
        if self._is_over:
            return  # on its way before the client could hear of our close
        if self.take is not None:
            self.take(text)
            return
        if self._inbox is None:
            self._inbox = deque(maxlen=FRAMES_OF_READ_MAX)
        self._inbox.append(text)
        self.pause_reading()

    def pause_writing(self) -> None:
        """The kernel did not take everything."""
        self.is_flowing = False
        self._tell_free()
        self.listener.stalled()

    def resume_writing(self) -> None:
        """The kernel has everything."""
        self._flows()
        self._tell_free()
        self.listener.flowing()

    def _closed(self, code: int) -> None:
        """The peer closes, or answers our close."""
        if self.closed_with is None:
            self.closed_with = code
        self._end()
        self.transport.close()

    def _broken(self, code: int) -> None:
        """The peer broke the protocol: a frame too large (1009), text that is no UTF-8 (1007), …"""
        if not self._is_over:
            self.closed_with = code
            self._unsent.append(STANDARD.get(code, b""))
        self._end()
        self.transport.close()

    def _end(self) -> None:
        """The conversation is over: send what is left, and cut the connection if the peer does not finish."""
        if self._unsent and not self.transport.is_closing():
            self._put(b"".join(self._unsent))
        self._unsent.clear()
        self._flush_control()
        self._conclude()
        self._tell_free()
        self.resume_reading()
        self._abort_later()

    def _flush_control(self) -> None:
        """Pongs and closes."""
        data = self._frames.to_send()
        if data and not self.transport.is_closing():
            self.flush()
            self.transport.write(data)

    def _conclude(self) -> None:
        """Nothing that comes is heard any more."""
        if not self._is_over:
            self._is_over = True
            self.listener.over()

    def shutdown(self) -> None:
        """uvicorn stops. `drain` has moved the sessions away; who is left hears why."""
        if self.is_open:
            self.close_with(wire_errors.GOING_AWAY)
        else:
            self.transport.close()
        self._abort_later(1.0)

    def connection_lost(self, _: Exception | None) -> None:
        """The connection is gone."""
        FREE[self.fd] = False
        self.fd = descriptors.NONE  # the number may be somebody else's soon
        self.listener.lost()
        self._connections.discard(self)
        if self._abort_timer is not None:
            self._abort_timer.cancel()
            self._abort_timer = None
        self._conclude()
        self._unsent.clear()
        self._flows()

    def _flows(self) -> None:
        self.is_flowing = True
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def _abort_later(self, after_s: float = CLOSE_DEADLINE_S) -> None:
        if self not in self._connections:  # lost already
            return
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        self._abort_timer = self._turn.loop.call_later(after_s, self.transport.abort)
