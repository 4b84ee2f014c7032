"""The load client in Centrifugo's protocol (v2, JSON): the same reads, the same counts, other words.

A publication carries an offset, one more than the one before it in its channel while history is on, so holes
and doubles are found as they are in the `seq` of an edge.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

import orjson

from shared.clock import now_us
from tests.bench.chunks import STAMP_DIGITS, Events, chunk_reader
from tests.bench.load_client import LoadClient, connect, fresh_id

_PUSH = b'{"push":{"channel":"'
_TEXT = b'"text":"'
_REPLY = b'\n{"id":'
_OFFSET = re.compile(rb'.*,"offset":(\d+)', re.DOTALL)
_PING = b"{}"


def is_push(payload: bytes) -> bool:
    """Whether a text frame holds publications alone."""
    return payload.startswith(_PUSH) and _REPLY not in payload


def read_pushes(payload: bytes) -> Events:
    """Channel, offset and stamp (0: none) of every publication in a frame."""
    return tuple(_read_push(push) for push in payload.split(_PUSH)[1:])


def _read_push(push: bytes) -> tuple[bytes, int, int]:
    channel, _, rest = push.partition(b'"')
    offset = _OFFSET.match(rest)
    if offset is None:
        raise ValueError(f"no publication with an offset: {push[:200]!r}")
    _, found, text = rest.partition(_TEXT)
    stamp = text[:STAMP_DIGITS] if found else b""
    return channel, int(offset[1]), int(stamp) if stamp.isdigit() else 0


read_chunk = chunk_reader(is_push, read_pushes)


class CentrifugoClient(LoadClient):
    """One connection. Open it with `open_subscriber`."""

    path = "/connection/websocket"

    def __init__(self) -> None:
        super().__init__()
        self._commands = 0

    def next_id(self) -> int:
        """For a command."""
        self._commands += 1
        return self._commands

    def send_message(self, channel: str, text: str, due_ns: int = 0) -> None:
        """Publish what an event says beside what Centrifugo adds: channel, number, author; see the base."""
        number = self.next_id()
        event = {"id": fresh_id(), "at_ms": now_us() // 1000, "text": text}
        frame = orjson.dumps({"id": number, "publish": {"channel": channel, "data": event}})
        self._sent_ns[str(number)] = due_ns or time.monotonic_ns()
        self.write(frame)

    def _chunk(self, data: bytes) -> Events | None:
        return read_chunk(data)

    def _text(self, payload: bytes, now_ns: int) -> None:
        if is_push(payload):
            self._count(read_pushes(payload), now_ns)
            return
        for line in payload.splitlines():
            if line.startswith(_PUSH):
                self._count(read_pushes(line), now_ns)
            elif line == _PING:
                self.write(_PING)
            else:
                self._replied(orjson.loads(line), now_ns)

    def _replied(self, reply: dict[str, object], now_ns: int) -> None:
        match reply:
            case {"id": number, "error": {"code": code, "message": why}}:
                self._settle({"type": "error", "id": number, "code": code, "message": why}, now_ns)
            case {"id": number}:
                self._settle({"type": "ack", "id": number}, now_ns)


async def open_subscriber(url: str, channels: Iterable[str]) -> CentrifugoClient:
    """Connect, and subscribe to each channel. Raises `Refused` or OSError."""
    client = CentrifugoClient()
    await connect(client, url)
    await client.ask({"id": client.next_id(), "connect": {}})
    for channel in channels:
        await client.ask({"id": client.next_id(), "subscribe": {"channel": channel}})
        client.channels.add(channel)
    return client
