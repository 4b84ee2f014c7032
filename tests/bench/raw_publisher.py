"""The most that a NATS server takes: a bare socket that publishes to JetStream with many acks outstanding.

`python -m tests.bench.raw_publisher`, one JSON object a line:

    {"url", "user", "password", "inbox"}                           connect
    {"run": seconds, "in_flight", "channels": […], "partitions"}   publish into the channels in turn

What it writes is what an edge writes: the same body, a message id of its own each, an answer to each.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from urllib.parse import urlsplit

import orjson
from pydantic import TypeAdapter

from shared.clock import now_us
from shared.events import MessagePosted, encode
from shared.ids import ChannelId, ChannelKey, UserId, WorkspaceId, new_command_id
from shared.subjects import channel_subject, inbox_prefix, message_id, partition_of
from tests.bench.child import Child, child
from tests.bench.durability import TEXT
from tests.bench.senders import ANSWERS_S, Sent, in_turn
from tests.bench.system import WORKSPACE, System

PART = 64
"""Messages written with one system call."""

AUTHOR = "raw"
_READ_BYTES = 256 * 1024
_ANSWER = re.compile(rb"\r\n(\{[^\r\n]*\})(?=\r\n)")
_NOBODY = b"NATS/1.0 503"
_TAIL_BYTES = 4096
_SENT = TypeAdapter(Sent)


class RawPublisher:
    """The parent's end."""

    def __init__(self, process: Child) -> None:
        self._process = process

    async def run(self, channels: Sequence[str], partitions: int, seconds: float, in_flight: int) -> Sent:
        """Nothing may be refused or found stored already."""
        question: dict[str, object] = {
            "run": seconds,
            "in_flight": in_flight,
            "channels": channels,
            "partitions": partitions,
        }
        return _SENT.validate_python(await self._process.ask(question, seconds + ANSWERS_S))


@contextlib.asynccontextmanager
async def raw_publisher(system: System) -> AsyncIterator[RawPublisher]:
    """Connected with the rights of an edge; its process ends with the context."""
    settings = system.bus_settings()
    async with child("tests.bench.raw_publisher") as process:
        question: dict[str, object] = {
            "url": settings.nats_url.split(",")[0],
            "user": settings.nats_user,
            "password": settings.nats_password,
            "inbox": f"{inbox_prefix(settings.nats_user)}.raw",
        }
        await process.ask(question, ANSWERS_S)
        yield RawPublisher(process)


class Answers:
    """Counts acks in what the server writes, and answers its pings. Raises `ValueError` for a refusal."""

    def __init__(self) -> None:
        self.acks = 0
        self._rest = b""

    def heard(self, data: bytes) -> bool:
        """Whether a ping was among it."""
        data = self._rest + data
        end = 0
        for match in _ANSWER.finditer(data):
            end = match.end()
            answer = match[1]
            if b'"seq":' not in answer or b'"duplicate"' in answer or b'"error"' in answer:
                raise ValueError(answer.decode(errors="replace"))
            self.acks += 1
        if b"-ERR" in data or _NOBODY in data:
            raise ValueError(data.decode(errors="replace")[:200])
        has_ping = b"PING\r\n" in data
        self._rest = (data[end:].replace(b"PING\r\n", b"") if has_ping else data[end:])[-_TAIL_BYTES:]
        return has_ping


class _Publisher:
    """The other side."""

    def __init__(self, question: dict[str, str]) -> None:
        address = urlsplit(question["url"])
        self._inbox = question["inbox"]
        self._socket = socket.create_connection((address.hostname, address.port), timeout=ANSWERS_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        hello = {
            "verbose": False,
            "pedantic": False,
            "user": question["user"],
            "pass": question["password"],
            "headers": True,
            "no_responders": True,
            "name": "raw",
            "lang": "python",
            "version": "1",
        }
        self._socket.sendall(
            b"CONNECT " + orjson.dumps(hello) + f"\r\nSUB {self._inbox} 1\r\nPING\r\n".encode()
        )
        said = b""
        while b"PONG\r\n" not in said:
            said += self._socket.recv(_READ_BYTES)
            if b"-ERR" in said or not said:
                raise ConnectionError(said.decode(errors="replace")[-200:])

    def run(
        self, channels: Sequence[str], partitions: int, seconds: float, in_flight: int
    ) -> dict[str, object]:
        targets = [_target(channel, partitions) for channel in channels]
        answers, sent = Answers(), 0
        began_s, began_ns = time.monotonic(), time.process_time_ns()
        while True:
            is_over = time.monotonic() - began_s >= seconds
            if is_over and answers.acks == sent:
                break
            while not is_over and sent - answers.acks <= in_flight - PART:
                part = [self._message(*targets[n % len(targets)]) for n in range(sent, sent + PART)]
                self._socket.sendall(b"".join(part))
                sent += PART
            if answers.heard(self._socket.recv(_READ_BYTES)):
                self._socket.sendall(b"PONG\r\n")
        cpu_us, ended_s = (time.process_time_ns() - began_ns) / 1000, time.monotonic()
        return {"acked": in_turn(channels, sent), "began_s": began_s, "ended_s": ended_s, "cpu_us": cpu_us}

    def _message(self, subject: str, key: ChannelKey, before: bytes, behind: bytes) -> bytes:
        command = new_command_id(now_us() // 1000)
        msg_id = message_id(key, UserId(AUTHOR), command)
        headers = f"NATS/1.0\r\nNats-Msg-Id: {msg_id}\r\n\r\n".encode()
        body = before + command.encode() + behind
        sizes = f"HPUB {subject} {self._inbox} {len(headers)} {len(headers) + len(body)}\r\n".encode()
        return sizes + headers + body + b"\r\n"


def _target(channel: str, partitions: int) -> tuple[str, ChannelKey, bytes, bytes]:
    """Subject, key, and the body of an event in front of its id and behind it."""
    key = ChannelKey(WorkspaceId(WORKSPACE), ChannelId(channel))
    event = MessagePosted(id=new_command_id(now_us() // 1000), author=UserId(AUTHOR), text=TEXT)
    before, found, behind = encode(event).partition(event.id.encode())
    assert found
    return channel_subject(partition_of(key, partitions), key), key, before, behind


def main() -> None:
    """Serve until the input ends."""
    publisher = _Publisher(orjson.loads(sys.stdin.readline()))
    os.write(1, b"{}\n")
    while line := sys.stdin.readline():
        question = orjson.loads(line)
        answer = publisher.run(
            question["channels"], question["partitions"], question["run"], question["in_flight"]
        )
        os.write(1, orjson.dumps(answer) + b"\n")


if __name__ == "__main__":
    main()
