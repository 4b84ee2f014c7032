"""The WebSocket under a session, without its socket: bytes of the client to texts, and the way out.

The rules of RFC 6455 are those of `websockets`' own sans-I/O protocol; here messages are put together, what
is no UTF-8 is refused (8.1), and what the library leaves to its user is decided.
"""

from __future__ import annotations

from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol, State

INVALID_DATA = 1007
PROTOCOL_ERROR = 1002


class FrameStream:
    """One connection whose handshake is over."""

    def __init__(self, frame_bytes_max: int) -> None:
        self._protocol = Protocol(SERVER, max_size=frame_bytes_max)
        self._parts: list[bytes] = []
        self._is_binary = False

    @property
    def is_open(self) -> bool:
        """Whether neither side has begun to close."""
        return self._protocol.state is State.OPEN

    @property
    def broken_with(self) -> int | None:
        """The code with which we have failed the connection, because the peer broke the rules."""
        protocol = self._protocol
        if protocol.parser_exc is None:
            return None
        return int(protocol.close_sent.code) if protocol.close_sent is not None else PROTOCOL_ERROR

    @property
    def closed_by_peer_with(self) -> int | None:
        """The code of the peer's close frame, once it has come."""
        close = self._protocol.close_rcvd
        return None if close is None else int(close.code)

    def feed(self, data: bytes) -> list[str]:
        """The texts that are complete by now; a binary message reads as its bytes' text. Never raises."""
        protocol = self._protocol
        protocol.receive_data(data)
        texts: list[str] = []
        for event in protocol.events_received():
            assert isinstance(event, Frame)
            if event.opcode is Opcode.TEXT or event.opcode is Opcode.BINARY:
                self._is_binary = event.opcode is Opcode.BINARY
                self._parts = [bytes(event.data)]
            elif event.opcode is Opcode.CONT:
                self._parts.append(bytes(event.data))
            else:
                continue  # ping and close are answered by the library
            if event.fin:
                try:
                    texts.append(self._text())
                except UnicodeDecodeError as error:
                    protocol.fail(INVALID_DATA)
                    protocol.parser_exc = error
                    break
        return texts

    def close(self, code: int, reason: str) -> None:
        """Begin to close, if nobody has begun."""
        if self.is_open:
            self._protocol.send_close(code, reason)

    def to_send(self) -> bytes:
        """Pongs and closes that have come up. (The library's mark for the end of a connection is empty.)"""
        return b"".join(self._protocol.data_to_send()) if self._protocol.writes else b""

    def _text(self) -> str:
        message = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        return message.decode(errors="replace" if self._is_binary else "strict")
