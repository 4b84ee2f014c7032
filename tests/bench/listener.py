"""One connection that listens to a fan-out, without I/O: joins in its server's dialect, then proves order.

A message counts only if its number is one more than the last: nothing is lost, doubled or out of place.
"""

from __future__ import annotations

import base64
import secrets

from tests.bench.dialects import Dialect
from tests.bench.frames import CLOSE, TEXT, FrameScanner
from tests.bench.marks import read_marks


class Listener:
    """`last` is the number of the newest message; `fault` says what went wrong first."""

    __slots__ = ("_dialect", "_head", "_pong", "_scanner", "_tail", "fault", "joined", "last")

    def __init__(self, dialect: Dialect) -> None:
        self.last = 0
        self.joined = False
        self.fault = ""
        self._dialect = dialect
        self._pong = dialect.pong
        self._head: bytes | None = b""
        self._scanner = FrameScanner()
        self._tail = b""

    def request(self, host: str, port: int) -> bytes:
        """What to write first."""
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        return (
            f"GET {self._dialect.path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()

    def heard(self, data: bytes) -> bytes:
        """Bytes arrived; what to write in answer."""
        if not self.joined:
            try:
                return self._join(data)
            except ValueError as error:
                self._failed(str(error))
                return b""
        marks = read_marks(self._tail + data)
        self._tail = marks.tail
        if marks.first:
            if marks.first != self.last + 1 or not marks.is_in_order:
                self._failed(f"{marks.first} after {self.last}")
            self.last = marks.last
        return self._pong if marks.has_ping else b""

    def ended(self) -> None:
        """The server closed the connection."""
        self._failed("closed")

    def _join(self, data: bytes) -> bytes:
        answer = b""
        if self._head is not None:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return b""
            if not head.startswith(b"HTTP/1.1 101 "):
                raise ValueError(head.partition(b"\r\n")[0].decode(errors="replace"))
            self._head = None
            answer = self._dialect.opened()
        for opcode, payload in self._scanner.feed(data):
            if opcode == CLOSE:
                raise ValueError(f"closed with {int.from_bytes(payload[:2], 'big')} {payload[2:]!r}")
            if opcode == TEXT:
                answer += self._dialect.heard(payload)
        self.joined = self._dialect.joined and self._scanner.is_empty
        return answer

    def _failed(self, why: str) -> None:
        self.fault = self.fault or why
