"""Many load clients in a process of their own, so that receiving costs the sender no time.

`python -m tests.bench.crowd` takes a JSON object a line and answers each with one:

    {"open": [[token, [channel, …]], …], "url", "batch", "server"}   connect; wait until all are members
    {"reset": true}                                                  count anew
    {"report": expected, "within_s": …}                              wait for so many events, tell what came

The end of the input is the end of the process. `Crowd` is the other side.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal

import orjson
from pydantic import TypeAdapter

from tests.bench.child import Child, child
from tests.bench.load_client import LoadClient, open_session
from tests.bench.loop import run
from tests.bench.measure import percentile
from tests.bench.peers.centrifugo_client import open_subscriber

CONNECTING_MAX = 50
OPEN_DEADLINE_S = 60.0
_READ_BYTES_MAX = 256 * 1024

Member = tuple[str, Sequence[str]]
"""A token, and the channels that its user is a member of."""

Server = Literal["edge", "centrifugo"]
"""Whose protocol a crowd speaks; for Centrifugo it needs no token, and subscribes to the channels."""


@dataclass(frozen=True, slots=True)
class Received:
    """What a crowd received: events, holes in their numbers, and how late they were, by share of events.

    `until_ns`: when it was all there, or nobody waited any longer (monotonic clock).
    """

    events: int
    gaps: int
    closed: int
    late_ms: dict[str, float]
    until_ns: int = 0


_RECEIVED = TypeAdapter(Received)
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


class Crowd:
    """A crowd in a child process."""

    def __init__(self, process: Child) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process, whose CPU belongs to the load and not to the system."""
        return self._process.pid

    async def open(
        self, url: str, members: Sequence[Member], *, batch: bool = True, server: Server = "edge"
    ) -> None:
        """Connect them all."""
        question = {"open": members, "url": url, "batch": batch, "server": server}
        await self._process.ask(question, OPEN_DEADLINE_S)

    async def reset(self) -> None:
        """Count anew."""
        await self._process.ask({"reset": True}, 10.0)

    async def report(self, expected: int, *, within_s: float = 10.0) -> Received:
        """What came since the last `reset`, once it is `expected` events or `within_s` have passed."""
        answer = await self._process.ask({"report": expected, "within_s": within_s}, within_s + 10.0)
        return _RECEIVED.validate_python(answer)


@contextlib.asynccontextmanager
async def crowd() -> AsyncIterator[Crowd]:
    """A crowd without members yet; its process ends with the context."""
    async with child("tests.bench.crowd") as process:
        yield Crowd(process)


class _Ear:
    """Reads many sockets through one descriptor: a loop's own work per read costs more than the read."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._clients: dict[int, LoadClient] = {}
        asyncio.get_running_loop().add_reader(self._poll.fileno(), self._hear)

    def add(self, client: LoadClient) -> None:
        """Read for this client from now on."""
        number = client.take_socket()
        self._clients[number] = client
        self._poll.register(number, select.EPOLLIN)

    def _hear(self) -> None:
        for number, _ in self._poll.poll(0):
            try:
                data = os.read(number, _READ_BYTES_MAX)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if data:
                self._clients[number].data_received(data)
            else:
                self._poll.unregister(number)
                self._clients.pop(number).close()


class _Members:
    """The other side: the clients, and what they received together."""

    def __init__(self) -> None:
        self.clients: list[LoadClient] = []
        self._ear = _Ear()

    async def obey(self, question: dict[str, object]) -> dict[str, object]:
        if "open" in question:
            await self._open(question)
            return {"opened": len(self.clients)}
        if "reset" in question:
            for client in self.clients:
                client.reset()
            return {}
        return await self._report(int(str(question["report"])), float(str(question["within_s"])))

    async def _open(self, question: dict[str, object]) -> None:
        gate = asyncio.Semaphore(CONNECTING_MAX)
        members, url = question["open"], str(question["url"])
        assert isinstance(members, list)

        async def enter(token: str, channels: list[str]) -> LoadClient:
            async with gate:
                if question["server"] == "centrifugo":
                    return await open_subscriber(url, channels)
                client = await open_session(url, token, batch=bool(question["batch"]))
                await client.until_member(set(channels))
                return client

        entered = await asyncio.gather(*(enter(token, channels) for token, channels in members))
        for client in entered:
            self._ear.add(client)
        self.clients += entered

    async def _report(self, expected: int, within_s: float) -> dict[str, object]:
        deadline = asyncio.get_running_loop().time() + within_s
        while self._events() < expected and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        until_ns = time.monotonic_ns()
        late = sorted(value for client in self.clients for value in client.delivery_ns)
        return {
            "events": self._events(),
            "gaps": sum(client.gaps for client in self.clients),
            "closed": sum(client.closed.done() for client in self.clients),
            "late_ms": {name: percentile(late, share) / 1e6 for name, share in SHARES.items()}
            if late
            else {},
            "until_ns": until_ns,
        }

    def _events(self) -> int:
        return sum(client.events for client in self.clients)


async def _serve() -> None:
    members = _Members()
    while line := await asyncio.to_thread(sys.stdin.readline):
        answer = await members.obey(orjson.loads(line))
        os.write(1, orjson.dumps(answer) + b"\n")


if __name__ == "__main__":
    run(_serve())
