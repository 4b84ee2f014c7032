"""One client of a storm on a bare socket: connects, upgrades, says hello with its cursors, and keeps count.

It does what an SDK does, with the SDK's own policy of waits: after a lost connection a random moment, after
`503` what `Retry-After` says and a random moment more, with a ceiling that doubles. It speaks the protocol
in full and skips nothing that a client owes: the number of every event is held against the one before (P19),
heartbeats are answered, and it counts as resumed only when all its cursors are answered as complete (P7).
"""

from __future__ import annotations

import base64
import errno
import math
import random
import secrets
import socket
import time
from typing import Any

import orjson

from shared.client.errors import SessionEnded
from shared.client.policy import Reconnect, Wait
from tests.bench.chunks import is_event, read_events
from tests.bench.frames import CLOSE, TEXT, FrameScanner, masked_frame

PATH = "/v1/ws"
READ_BYTES = 65_536
_PONG = masked_frame(TEXT, b'{"type":"pong"}')
_LOST = 1006
_CONNECTING = frozenset({0, errno.EINPROGRESS})

Address = tuple[str, int]


class StormClient:
    """One user. Times are seconds of the monotonic clock; `ready_s` is 0 while it is not resumed."""

    def __init__(self, token: str, channels: int) -> None:
        self.socket: socket.socket | None = None
        self.ready_s = 0.0
        self.refused = 0
        self.losses = 0
        self.replayed = 0
        self.breaches: list[str] = []
        self.gone = ""
        self.last: dict[str, int] = {}
        self._epochs: dict[str, str] = {}
        self._token = token
        self._channels = channels
        self._head = b""
        self._upgraded = False
        self._scanner = FrameScanner()
        self._awaited: set[str] = set()
        self._bye: dict[str, Any] | None = None
        self._opened_s = 0.0
        self._policy = Reconnect(lambda ceiling: random.uniform(0, ceiling), renewable=False)

    def count_anew(self) -> None:
        """Forget what was counted; cursors and breaches stay."""
        self.losses = self.refused = self.replayed = 0

    def connect(self, address: Address) -> socket.socket:
        """Begin to connect; the caller tells when the socket can be written to."""
        opened = socket.socket()
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = opened.connect_ex(address)
        if code not in _CONNECTING:
            opened.close()
            raise OSError(code, "cannot connect")
        self.socket = opened
        self._head, self._upgraded, self._scanner = b"", False, FrameScanner()
        self._opened_s = 0.0
        return opened

    def connected(self, address: Address) -> None:
        """Ask for the upgrade. Raises OSError."""
        assert self.socket is not None
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        self.socket.send(
            f"GET {PATH} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )

    def lost(self, now_s: float, *, status: int = 0, retry_after_s: float | None = None) -> float:
        """The connection ended, or was refused with a status or `bye`: when to come back (inf: never)."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        if self._bye is not None:
            status, retry_after_s = self._bye["code"], (self._bye.get("retry_after_ms") or 0) / 1000
            self._bye = None
        self.losses += not status
        self.refused += bool(status)
        self.ready_s = 0.0
        held_s = now_s - self._opened_s if self._opened_s else 0.0
        try:
            verdict = self._policy.ended(status or _LOST, "", retry_after_s=retry_after_s, held_s=held_s)
        except SessionEnded as error:
            self.gone = f"{error.close_code}"
            return math.inf
        assert isinstance(verdict, Wait)
        return now_s + verdict.wait_s

    def heard(self, now_s: float) -> float | None:
        """The socket can be read. When to come back, if that was the end of the connection."""
        assert self.socket is not None
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            return self.lost(now_s)
        if not self._upgraded:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return None
            if not head.startswith(b"HTTP/1.1 101 "):
                return self.lost(now_s, status=int(head[9:12]), retry_after_s=_retry_after(head))
            self._upgraded = True
            self._say_hello()
        for opcode, payload in self._scanner.feed(data):
            if opcode == CLOSE:
                return self.lost(now_s)
            if opcode == TEXT:
                self._text(payload, now_s)
        return None

    def _say_hello(self) -> None:
        cursors = {c: {"epoch": self._epochs[c], "seq": seq} for c, seq in self.last.items()}
        self._awaited = set(cursors)
        hello = {"type": "hello", "token": self._token, "client": "storm", "batch": True, "cursors": cursors}
        assert self.socket is not None
        self.socket.send(masked_frame(TEXT, orjson.dumps(hello)))

    def _text(self, payload: bytes, now_s: float) -> None:  # noqa: C901  # a table of frames
        if is_event(payload):
            for channel, seq, _ in read_events(payload):
                self._event(channel.decode(), seq)
            return
        frame = orjson.loads(payload)
        match frame["type"]:
            case "welcome" | "channels":
                for info in frame["channels"]:
                    self._follow(info)
                if frame["type"] == "welcome":
                    self._opened_s = now_s
            case "channel":
                self._follow(frame["channel"])
            case "resumed":
                self._resumed(frame)
            case "bye":
                self._bye = frame
            case "ping":
                assert self.socket is not None
                self.socket.send(_PONG)
            case "error" if not self._opened_s:
                pass  # `bye` follows
            case _:
                self.breaches.append(payload.decode()[:200])
        if self._opened_s and not self.ready_s and not self._awaited and len(self.last) >= self._channels:
            self.ready_s = now_s

    def _follow(self, info: dict[str, Any]) -> None:
        self._epochs[info["id"]] = info["epoch"]
        self.last.setdefault(info["id"], info["head"])

    def _event(self, channel: str, seq: int) -> None:
        if seq != self.last.get(channel, seq - 1) + 1:
            self.breaches.append(f"{channel}: {seq} after {self.last[channel]}")
        self.last[channel] = seq

    def _resumed(self, frame: dict[str, Any]) -> None:
        channel = frame["channel"]
        if not frame["complete"] or frame["to"] != self.last[channel]:
            self.breaches.append(f"{frame}")
        self.replayed += frame["count"]
        self._awaited.discard(channel)


def _retry_after(head: bytes) -> float | None:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"retry-after:"):
            return float(line.partition(b":")[2])
    return None


def now() -> float:
    """Seconds of the monotonic clock, which all processes of a machine share."""
    return time.monotonic()
