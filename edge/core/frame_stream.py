"""The WebSocket under a session, without its socket: bytes of the client to texts, and the way out.

An edge holds thousands of these, most of them idle: one is a few hundred bytes, and a frame that arrived
whole is cut out of its read and unmasked once. The rules are those of RFC 6455 as `websockets`' sans-I/O
protocol has them; a property test holds the two against each other for whatever a client may send. That
protocol's generator per connection costs more memory and twice the CPU per frame (see DESIGN.md).
"""

from __future__ import annotations

from websockets.frames import EXTERNAL_CLOSE_CODES, apply_mask  # type: ignore[attr-defined]  # in C

INVALID_DATA = 1007
PROTOCOL_ERROR = 1002
TOO_LARGE = 1009
NO_STATUS = 1005

_CONT, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_FIN, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F
_OPCODES = frozenset((_CONT, _TEXT, _BINARY, _CLOSE, _PING, _PONG))
_CONTROL_BYTES_MAX = 125
_PRIVATE_CODES = range(3000, 5000)


class Broken(Exception):
    """The peer broke the rules; `code` says which."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class FrameStream:
    """One connection whose handshake is over."""

    __slots__ = (
        "_bytes_max",
        "_is_binary",
        "_out",
        "_parts",
        "_rest",
        "broken_with",
        "closed_by_peer_with",
        "is_open",
    )

    def __init__(self, frame_bytes_max: int) -> None:
        self.is_open = True
        """Whether neither side has begun to close."""
        self.broken_with: int | None = None
        """The code with which we have failed the connection, because the peer broke the rules."""
        self.closed_by_peer_with: int | None = None
        """The code of the peer's close frame, once it has come."""
        self._bytes_max = frame_bytes_max
        self._rest = b""
        self._parts: list[bytes] | None = None
        """The message that is under way in fragments."""
        self._is_binary = False
        self._out = b""

    def feed(self, data: bytes) -> list[str]:
        """The texts that are complete by now; a binary message reads as its bytes' text. Never raises."""
        texts: list[str] = []
        if self.broken_with is not None or self.closed_by_peer_with is not None:
            return texts
        if self._rest:
            data = self._rest + data
        at = 0
        try:
            while self.closed_by_peer_with is None and (place := self._payload(data, at)):
                start, end = place
                self._frame(data[at], apply_mask(data[start:end], data[start - 4 : start]), texts)
                at = end
        except Broken as broken:
            self.close(broken.code, "")
            self.broken_with = broken.code
        self._rest = data[at:] if self.broken_with is None else b""
        return texts

    def close(self, code: int, reason: str) -> None:
        """Begin to close, if nobody has begun."""
        if self.is_open:
            self.is_open = False
            self._send(_CLOSE, code.to_bytes(2, "big") + reason.encode())

    def to_send(self) -> bytes:
        """Pongs and closes that have come up."""
        out, self._out = self._out, b""
        return out

    def _payload(self, data: bytes, at: int) -> tuple[int, int] | None:
        """Where the payload of the frame at `at` begins and ends; None if it is not all there."""
        there = len(data) - at
        if there < 2:
            return None
        first, second = data[at], data[at + 1]
        if first & _OPCODE not in _OPCODES or not second & _MASKED:
            raise Broken(PROTOCOL_ERROR)
        length, start = second & _LENGTH, at + 6
        if length > _CONTROL_BYTES_MAX:
            wide = 2 if length == 126 else 8
            if there < 2 + wide:
                return None
            length, start = int.from_bytes(data[at + 2 : at + 2 + wide], "big"), start + wide
        if length > self._bytes_max - (sum(map(len, self._parts)) if self._parts else 0):
            raise Broken(TOO_LARGE)
        end = start + length
        return (start, end) if end <= len(data) else None

    def _frame(self, first: int, payload: bytes, texts: list[str]) -> None:
        opcode, fin = first & _OPCODE, first & _FIN
        if first & _RESERVED:
            raise Broken(PROTOCOL_ERROR)
        if opcode >= _CLOSE:
            if len(payload) > _CONTROL_BYTES_MAX or not fin:
                raise Broken(PROTOCOL_ERROR)
            self._control(opcode, payload)
            return
        if (opcode == _CONT) is (self._parts is None):
            raise Broken(PROTOCOL_ERROR)
        message = self._put_together(opcode, payload, is_last=bool(fin))
        if message is not None:
            try:
                texts.append(message.decode(errors="replace" if self._is_binary else "strict"))
            except UnicodeDecodeError:
                raise Broken(INVALID_DATA) from None

    def _put_together(self, opcode: int, payload: bytes, *, is_last: bool) -> bytes | None:
        """The message that ends with this fragment, if it is the last."""
        if opcode != _CONT:
            self._is_binary = opcode == _BINARY
        if self._parts is not None:
            self._parts.append(payload)
        elif not is_last:
            self._parts = [payload]
        if not is_last:
            return None
        if self._parts is not None:
            payload, self._parts = b"".join(self._parts), None
        return payload

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self._send(_PONG, payload)
        elif opcode == _CLOSE:
            code = _close_code(payload)
            if self._parts is not None:
                raise Broken(PROTOCOL_ERROR)
            self.closed_by_peer_with = code
            if self.is_open:
                self.is_open = False
                self._send(_CLOSE, payload)

    def _send(self, opcode: int, payload: bytes) -> None:
        self._out += bytes((_FIN | opcode, len(payload))) + payload


def _close_code(payload: bytes) -> int:
    """The code in a close frame. Raises `Broken`."""
    if not payload:
        return NO_STATUS
    if len(payload) < 2:
        raise Broken(PROTOCOL_ERROR)
    code = int.from_bytes(payload[:2], "big")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise Broken(INVALID_DATA) from None
    if code not in EXTERNAL_CLOSE_CODES and code not in _PRIVATE_CODES:
        raise Broken(PROTOCOL_ERROR)
    return code
