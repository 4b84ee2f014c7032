"""The WebSocket without a queue: what a read completes goes to the session at once, in one call.

websockets' own client keeps every message in a queue and wakes a task for it, which costs more than all
that a session does with an event. This subclass (`create_connection=` of `connect`) cuts whole text frames
out of each read itself. Dialling, proxies, TLS, redirects, the handshake, control frames, fragments, limits
and closing stay websockets'. Nothing is buffered but a frame that is not complete: a session that is slow
slows down the reading.

What of websockets is used beyond its interface: data_received, process_event, connection_lost,
resume_writing, send_data, paused, protocol.current_size and protocol.max_message_size.
`tests/shared/client/test_socket.py` holds them to what this file believes, at every bump of the version.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.frames import DATA_OPCODES, Frame
from websockets.http11 import Request, Response
from websockets.protocol import State

try:
    from websockets.speedups import apply_mask
except ImportError:  # not compiled for this platform
    from websockets.utils import apply_mask

_WHOLE_TEXT = 0x81
"""First byte of a text frame that is a whole message, without extensions."""
_MASKED = 0x80
"""Bit of the second byte: clients must set it, servers must not."""


class Socket(ClientConnection):
    """One connection. `receive` is given the messages of each read; what it raises ends the connection."""

    def __init__(
        self,
        protocol: ClientProtocol,
        *,
        receive: Callable[[list[bytes]], None],
        on_flowing: Callable[[], None],
        **options: Any,
    ) -> None:
        super().__init__(protocol, **options)
        assert isinstance(protocol.max_message_size, int), "a frame is collected here before it is parsed"
        self._size_max = protocol.max_message_size
        self._receive = receive
        self._on_flowing = on_flowing
        self._begun = bytearray()
        """The beginning of a frame."""
        self._begun_needs = 0
        self._fragments = bytearray()
        self.ended: asyncio.Future[None] = self.loop.create_future()
        """Done when no message comes any more; has the exception that `receive` raised."""

    @property
    def is_flowing(self) -> bool:
        """Whether more may be written now; `on_flowing` is called when it may again."""
        return not self.paused and self.protocol.state is State.OPEN

    def write(self, messages: Iterable[bytes]) -> None:
        """Send text messages, in one piece."""
        self.transport.write(b"".join([_text_frame(message) for message in messages]))

    # ------------------------------------------------------------ called by the transport

    def data_received(self, data: bytes) -> None:
        """Bytes arrived."""
        while data and self.protocol.state is State.CONNECTING:
            end = data.find(b"\n") + 1 or len(data)  # the answer ends with a line, and frames may follow
            super().data_received(data[:end])
            data = data[end:]
        if self._begun:
            self._begun += data
            if len(self._begun) < self._begun_needs:
                return
            data = bytes(self._begun)
            self._begun.clear()
        self._cut(data)

    def resume_writing(self) -> None:
        """The transport takes more."""
        super().resume_writing()
        self._on_flowing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        super().connection_lost(exc)
        self._end()

    # ------------------------------------------------------------ inside

    def _cut(self, data: bytes) -> None:
        """Whole messages to the session, all other frames to websockets, in their order."""
        messages: list[bytes] = []
        at, size = 0, len(data)
        while at < size:
            start, end = _payload(data, at)
            allowed = end - start <= self._size_max
            if not allowed:
                end = size  # websockets refuses the frame as soon as it has seen its head
            elif end > size:
                self._begun += data[at:]
                self._begun_needs = end - at
                break
            plain = data[at] == _WHOLE_TEXT and data[at + 1] < _MASKED and self.protocol.current_size is None
            if plain and allowed:
                messages.append(data[start:end])
            else:
                self._deliver(messages)
                messages = []
                self._pass(data[at:end])
            at = end
        self._deliver(messages)

    def _pass(self, frame: bytes) -> None:
        super().data_received(frame)
        if self.protocol.state is not State.OPEN:
            self._end()

    def process_event(self, event: Request | Response | Frame) -> None:
        """What websockets has understood: the answer to the handshake, or a frame that was passed to it."""
        if isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            self._fragments += event.data
            if event.fin:
                message = bytes(self._fragments)
                self._fragments.clear()
                self._deliver([message])
        else:
            super().process_event(event)

    def _deliver(self, messages: list[bytes]) -> None:
        if not messages or self.ended.done():
            return
        try:
            self._receive(messages)
        except Exception as error:  # noqa: BLE001  # the caller's task hears of it through `ended`
            self.ended.set_exception(error)

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


def _text_frame(message: bytes) -> bytes:
    """A text frame as a client sends it, masked; `Frame.serialize` takes three times as long."""
    size = len(message)
    if size < 126:
        head = bytes((_WHOLE_TEXT, _MASKED | size))
    elif size < 65536:
        head = bytes((_WHOLE_TEXT, _MASKED | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((_WHOLE_TEXT, _MASKED | 127)) + size.to_bytes(8, "big")
    key = os.urandom(4)
    return b"".join((head, key, apply_mask(message, key)))


def _payload(data: bytes, at: int) -> tuple[int, int]:
    """Where the payload of the frame at `at` begins and ends; past `data` if the frame's head is cut off."""
    if len(data) < at + 2:
        return at + 2, at + 2
    length = data[at + 1] & 0x7F
    if length < 126:
        return at + 2, at + 2 + length
    start = at + (4 if length == 126 else 10)
    if len(data) < start:
        return start, start
    return start, start + int.from_bytes(data[at + 2 : start], "big")
