"""A cheap WebSocket client that speaks the real protocol: a few microseconds a frame, everything counted.

A client library costs more per frame than the edge does, so a benchmark through one measures the library.
Here frames are cut out of each read in one pass, and of an event only channel, seq and the stamp in its text
are read. Nothing is skipped for speed that a client owes: heartbeats are answered, and the number of every
event is held against the one before (P19).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import secrets
import socket
import time
from array import array
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

import orjson

from shared.clock import now_us
from shared.ids import CommandId, new_command_id
from tests.bench.chunks import Events, is_event, read_chunk, read_events
from tests.bench.frames import CLOSE, PING, PONG, TEXT, FrameScanner, masked_frame

WAIT_S = 20.0
_RECEIVE_BUFFER_BYTES = 512 * 1024
_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PONG = b'{"type":"pong"}'
_PROBE = b'{"type":"ping","id":"probe"}'
_PROBED = b'{"type":"ping","id":"probe"'


class Refused(Exception):
    """The server answered a command, or the connection itself, with an error."""


class LoadClient(asyncio.Protocol):
    """One session. Open it with `open_session`; the figures are plain attributes, reset by `reset`."""

    path = "/v1/ws"

    def __init__(self) -> None:
        self._sent_ns: dict[str, int] = {}
        self.reset()
        self._probed_ns = 0
        self.last_error = ""
        self.closed_with: int | None = None
        self.channels: set[str] = set()
        self._seqs: dict[bytes, int] = {}
        self._scanner = FrameScanner()
        self._transport: asyncio.Transport | None = None
        self._head = self._accept = b""
        self._upgraded = False
        self._answers: dict[str, asyncio.Future[dict[str, object]]] = {}
        self._heard: asyncio.Future[None] | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def reset(self) -> None:
        """Begin to count anew; what was sent before is forgotten."""
        self.events = self.gaps = self.acks = self.errors = 0
        self.delivery_ns = array("q")
        self.ack_ns = array("q")
        self.probe_ns = array("q")
        self._sent_ns.clear()

    def heads(self) -> dict[str, int]:
        """The number of the newest event that was received, by channel."""
        return {channel.decode(): seq for channel, seq in self._seqs.items()}

    # ------------------------------------------------------------ sending

    def send_message(self, channel: str, text: str, due_ns: int = 0) -> None:
        """Post a message without waiting; its ack is timed from when it was due, or else from here."""
        command = fresh_id()
        frame = orjson.dumps({"type": "send", "id": command, "channel": channel, "text": text})
        self._sent_ns[command] = due_ns or time.monotonic_ns()
        self.write(frame)

    def probe(self) -> None:
        """Ask the edge for nothing but an answer; it is timed from here. One at a time."""
        self._probed_ns = time.monotonic_ns()
        self.write(_PROBE)

    async def ask(self, frame: dict[str, object]) -> dict[str, object]:
        """Send a command and wait for its ack. Raises `Refused`."""
        frame.setdefault("id", fresh_id())
        async with asyncio.timeout(WAIT_S):
            answer = await self.submit(frame)
        if answer["type"] == "error":
            raise Refused(f"{answer['code']}: {answer['message']}")
        return answer

    def submit(self, frame: dict[str, object]) -> asyncio.Future[dict[str, object]]:
        """Send a command; its answer, ack or error, as a future."""
        future = self.expect(str(frame["id"]))
        self.write(orjson.dumps(frame))
        return future

    def write(self, payload: bytes) -> None:
        """Send one text frame."""
        assert self._transport is not None
        self._transport.write(masked_frame(TEXT, payload))

    def close(self) -> None:
        """Leave, with a close frame."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(masked_frame(CLOSE, (1000).to_bytes(2, "big")))
            self._transport.close()

    async def until(self, condition: Callable[[], bool], *, within_s: float = WAIT_S) -> None:
        """Wait for something that bytes from the server make true. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while not condition():
                self._heard = asyncio.get_running_loop().create_future()
                await self._heard

    async def until_member(self, channels: set[str]) -> None:
        """Wait until the server has said that this user is a member of all of them."""
        await self.until(lambda: channels <= self.channels)

    def take_socket(self) -> int:
        """Stop reading through the loop: the caller reads this descriptor, and calls `data_received`."""
        assert self._transport is not None
        cast(asyncio.ReadTransport, self._transport).pause_reading()
        number: int = self._transport.get_extra_info("socket").fileno()
        return number

    def stall(self, buffer_bytes: int) -> tuple[int, int]:
        """Read nothing, and let the kernel take twice so much. Returns the server's port, and its own."""
        assert self._transport is not None
        _let_kernel_take(self.take_socket(), buffer_bytes)
        peer, own = (self._transport.get_extra_info(name) for name in ("peername", "sockname"))
        return int(peer[1]), int(own[1])

    def read_on(self, buffer_bytes: int = _RECEIVE_BUFFER_BYTES) -> None:
        """After `stall`: read again; through a small window it would take many times as long."""
        assert self._transport is not None
        cast(asyncio.ReadTransport, self._transport).resume_reading()
        _let_kernel_take(self._transport.get_extra_info("socket").fileno(), buffer_bytes)

    # ------------------------------------------------------------ receiving

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        transport = self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        key = base64.b64encode(secrets.token_bytes(16))
        self._accept = base64.b64encode(hashlib.sha1(key + _ACCEPT_GUID).digest())
        host, port = transport.get_extra_info("peername")[:2]
        transport.write(
            f"GET {self.path} HTTP/1.1\r\nHost: {host}:{port}\r\nSec-WebSocket-Version: 13\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key.decode()}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Bytes arrived: the answer to the upgrade first, then frames."""
        if not self._upgraded:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self._answered(head)
        if not data:
            return
        now_ns = time.monotonic_ns()
        events = self._chunk(data) if self._scanner.is_empty else None
        if events is not None:
            self._count(events, now_ns)
        else:
            self._read(data, now_ns)
        if self._heard is not None and not self._heard.done():
            self._heard.set_result(None)

    def _chunk(self, data: bytes) -> Events | None:
        return read_chunk(data)

    def _read(self, data: bytes, now_ns: int) -> None:
        for opcode, payload in self._scanner.feed(data):
            if opcode == TEXT:
                self._text(payload, now_ns)
            elif opcode == PING and self._transport is not None:
                self._transport.write(masked_frame(PONG, payload))
            elif opcode == CLOSE:
                self.closed_with = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
                self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever still waits hears why it was in vain."""
        if not self.closed.done():
            self.closed.set_result(None)
        if self._heard is not None and not self._heard.done():
            self._heard.set_result(None)
        error = Refused(f"closed with {self.closed_with} {self.last_error or exc or ''}")
        for future in self._answers.values():
            if not future.done():
                future.set_exception(error)
                future.exception()  # nobody may be waiting for this one
        self._answers.clear()

    def _answered(self, head: bytes) -> None:
        lines = head.split(b"\r\n")
        if b" 101 " not in lines[0] or not any(self._accept in line for line in lines[1:]):
            self.last_error = lines[0].decode(errors="replace")
            assert self._transport is not None
            self._transport.abort()
            return
        self._upgraded = True
        self._head = b""
        if (future := self._answers.pop("upgrade", None)) is not None and not future.done():
            future.set_result({})

    def _text(self, payload: bytes, now_ns: int) -> None:
        if is_event(payload):
            self._count(read_events(payload), now_ns)
        elif payload.startswith(_PROBED):
            self.probe_ns.append(now_ns - self._probed_ns)
        elif payload.startswith(b'{"type":"ping"'):
            self.write(_PONG)
        else:
            self._other(orjson.loads(payload), now_ns)

    def _count(self, events: Events, now_ns: int) -> None:
        seqs = self._seqs
        for channel, seq, due_ns in events:
            if seqs.get(channel, seq - 1) != seq - 1:
                self.gaps += 1
            seqs[channel] = seq
            if due_ns:
                self.delivery_ns.append(now_ns - due_ns)
        self.events += len(events)

    def _other(self, frame: dict[str, object], now_ns: int) -> None:
        match frame["type"]:
            case "ack" | "error":
                self._settle(frame, now_ns)
            case "welcome" | "channels":
                entries = frame["channels"]
                assert isinstance(entries, list)
                self.channels |= {entry["id"] for entry in entries}
                if frame["type"] == "welcome":
                    self._answers.pop("welcome").set_result(frame)
            case "channel":
                entry = frame["channel"]
                assert isinstance(entry, dict)
                (self.channels.add if frame["member"] else self.channels.discard)(entry["id"])
            case "bye":
                self.last_error = f"{frame['reason']}"

    def _settle(self, frame: dict[str, object], now_ns: int) -> None:
        command = str(frame.get("id"))
        sent_ns = self._sent_ns.pop(command, None)
        if frame["type"] == "error":
            self.errors += 1
            self.last_error = f"{frame['code']}: {frame['message']}"
        elif sent_ns is not None:
            self.acks += 1
            self.ack_ns.append(now_ns - sent_ns)
        future = self._answers.pop(command, None)
        if future is not None and not future.done():
            future.set_result(frame)

    def expect(self, what: str) -> asyncio.Future[dict[str, object]]:
        """The coming of `upgrade`, `welcome`, or the answer to a command."""
        future = self._answers[what] = asyncio.get_running_loop().create_future()
        return future


def _let_kernel_take(number: int, buffer_bytes: int) -> None:
    with socket.socket(fileno=os.dup(number)) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)


def fresh_id() -> CommandId:
    """A new id for now."""
    return new_command_id(now_us() // 1000)


async def connect(client: LoadClient, url: str) -> None:
    """Connect and upgrade. Raises `Refused` or OSError."""
    address = urlsplit(url)
    upgraded = client.expect("upgrade")
    async with asyncio.timeout(WAIT_S):
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: client, address.hostname or "", address.port or 80)
        await upgraded


async def open_session(url: str, token: str, *, batch: bool = True) -> LoadClient:
    """Connect, upgrade, say hello, wait for the welcome. Raises `Refused` or OSError."""
    client = LoadClient()
    welcomed = client.expect("welcome")
    await connect(client, url)
    async with asyncio.timeout(WAIT_S):
        client.write(orjson.dumps({"type": "hello", "token": token, "client": "bench", "batch": batch}))
        await welcomed
    return client
