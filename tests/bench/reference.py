"""What a figure is compared with, measured in the same run: the least that the same work can cost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from pathlib import Path

from shared.bus import Bus
from shared.clock import now_us
from shared.events import MessagePosted, encode
from shared.ids import ChannelId, ChannelKey, UserId, WorkspaceId, new_command_id
from shared.subjects import channel_subject, message_id, partition_of
from tests.bench.system import WORKSPACE


class BareCommit:
    """The same event, stored in the same log through the same bus class, with no edge in between.

    Its channel was never created, so the events are numbered and void, and nobody listens to them.
    """

    def __init__(self, bus: Bus, partitions: int, channel: str = "bare") -> None:
        self._bus = bus
        self._key = ChannelKey(WorkspaceId(WORKSPACE), ChannelId(channel))
        self._subject = channel_subject(partition_of(self._key, partitions), self._key)
        self._author = UserId("owner")
        self._tasks: set[asyncio.Task[None]] = set()
        self.ack_ns: list[int] = []

    async def commit(self, text: str) -> None:
        """Store one message and keep the time that it took."""
        event = MessagePosted(id=new_command_id(now_us() // 1000), author=self._author, text=text)
        began_ns = time.monotonic_ns()
        await self._bus.commit(
            self._subject, encode(event), msg_id=message_id(self._key, self._author, event.id)
        )
        self.ack_ns.append(time.monotonic_ns() - began_ns)

    def start(self, text: str) -> None:
        """The same without waiting."""
        task = asyncio.ensure_future(self.commit(text))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finished(self) -> list[int]:
        """The times of all commits since the last call, in nanoseconds."""
        await asyncio.gather(*self._tasks)
        taken, self.ack_ns = self.ack_ns, []
        return taken


class SendLoop:
    """A plain loop of `send(2)` over loopback connections: what the kernel alone costs per delivery."""

    def __init__(self, connections: int) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=connections) as server:
            self._near = [socket.create_connection(server.getsockname()) for _ in range(connections)]
            self._far = [server.accept()[0] for _ in range(connections)]
        for end in self._far:
            end.setblocking(False)

    def us_per_send(self, frame: bytes, rounds: int) -> float:
        """CPU microseconds of one send."""
        used_ns = 0
        for _ in range(rounds):
            began_ns = time.thread_time_ns()
            for end in self._near:
                end.send(frame)
            used_ns += time.thread_time_ns() - began_ns
            for end in self._far:
                with contextlib.suppress(BlockingIOError):
                    end.recv(65536)
        return used_ns / 1000 / rounds / len(self._near)

    def close(self) -> None:
        """Close both ends of everything."""
        for end in (*self._near, *self._far):
            end.close()


def fsyncs_ms(path: Path, count: int, size_bytes: int) -> list[float]:
    """Milliseconds of each of so many writes at a file's end, each with its fsync."""
    taken_ms = []
    with path.open("ab", buffering=0) as file:
        for _ in range(count):
            began_ns = time.monotonic_ns()
            file.write(b"x" * size_bytes)
            os.fsync(file.fileno())
            taken_ms.append((time.monotonic_ns() - began_ns) / 1e6)
    return taken_ms
