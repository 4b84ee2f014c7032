"""A TCP proxy on the loopback address that does to connections what networks do. A process of its own.

Its parent says what to do, a JSON object a line; every line is answered with one: `{"port": …}` or `{}`.

| do | what becomes of the connections |
|---|---|
| `open` | a new listener `name` in front of the port `target` |
| `cut` | all of them are reset, and every new one until `calm` |
| `half-open` | those that exist lose every byte of the direction `way` from now on; new ones are fine |
| `stall` | nothing moves, nothing is lost, until `calm` |
| `delay` | what is read is passed on `delay_s` later, give or take half of it, until `calm` |
| `trickle` | `bytes_per_s` of each connection and direction get through, until `calm` |
| `calm` | good weather again |

Bytes that were swallowed never come back: such a connection stays half-open until one of its ends gives up,
as behind a router that forgot it. A loss that TCP repairs looks like `stall`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
import sys
from typing import Any, Literal

HOST = "127.0.0.1"
READ_BYTES_MAX = 65_536
LINKS_MAX = 10_000
"""Connections of one listener; more are reset."""

Way = Literal["up", "down"]
_NO_LINGER = struct.pack("ii", 1, 0)


class Weather:
    """What happens to the bytes of one listener's connections."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.bytes_per_s = 0
        self.flowing = asyncio.Event()
        self.refuses = False
        self.calm()

    def calm(self) -> None:
        """Everything gets through."""
        self.delay_s, self.bytes_per_s, self.refuses = 0.0, 0, False
        self.flowing.set()

    async def pass_on(self, target: socket.socket, data: bytes) -> None:
        """Write it to the target as the weather of the moment allows."""
        loop = asyncio.get_running_loop()
        await self.flowing.wait()
        if self.delay_s:
            await asyncio.sleep(self.delay_s * random.uniform(0.5, 1.5))
        while data:
            size = max(1, self.bytes_per_s // 10) if self.bytes_per_s else len(data)
            await loop.sock_sendall(target, data[:size])
            data = data[size:]
            if data:
                await asyncio.sleep(0.1)


class Link:
    """One client's connection and the one behind it."""

    def __init__(self, client: socket.socket, server: socket.socket, weather: Weather) -> None:
        self.swallows: set[Way] = set()
        self._ends = client, server
        self._weather = weather
        self._pumps: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Until both directions have ended, or one has failed."""
        client, server = self._ends
        self._pumps = [
            asyncio.create_task(self._pump(client, server, "up")),
            asyncio.create_task(self._pump(server, client, "down")),
        ]
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await asyncio.gather(*self._pumps)
        finally:
            self.reset()
            await asyncio.wait(self._pumps)

    def reset(self) -> None:
        """Both ends hear of it at once."""
        for task in self._pumps:
            task.cancel()
        for end in self._ends:
            _reset(end)

    async def _pump(self, source: socket.socket, target: socket.socket, way: Way) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(source, READ_BYTES_MAX):
            if way not in self.swallows:
                await self._weather.pass_on(target, data)
        if way not in self.swallows:
            await self._weather.flowing.wait()
            target.shutdown(socket.SHUT_WR)


class Proxy:
    """One listener in front of one port."""

    def __init__(self, target: int) -> None:
        self.weather = Weather()
        self.links: dict[Link, asyncio.Task[None]] = {}
        self._target = target
        self._listener = socket.create_server((HOST, 0), backlog=512)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = asyncio.create_task(self._accept())

    def do(self, order: dict[str, Any]) -> None:
        """Carry out what the parent says; raises ValueError for what it cannot do."""
        match order["do"]:
            case "calm":
                self.weather.calm()
            case "cut":
                self.cut()
            case "half-open":
                self.half_open(order["way"])
            case "stall":
                self.weather.flowing.clear()
            case "delay":
                self.weather.delay_s = order["delay_s"]
            case "trickle":
                self.weather.bytes_per_s = order["bytes_per_s"]
            case unknown:
                raise ValueError(f"a proxy cannot {unknown}")

    def cut(self) -> None:
        """Reset every connection, and refuse new ones until it is calm."""
        self.weather.refuses = True
        for link in self.links:
            link.reset()

    def half_open(self, way: Way | Literal["both"]) -> None:
        """Those that are open now lose what is sent from now on."""
        for link in self.links:
            link.swallows |= {"up", "down"} if way == "both" else {way}

    async def close(self) -> None:
        """End everything."""
        self._accepting.cancel()
        self._listener.close()
        for link in self.links:
            link.reset()
        await asyncio.gather(self._accepting, *self.links.values(), return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(self._listener)
            client.setblocking(False)
            if self.weather.refuses or len(self.links) >= LINKS_MAX:
                _reset(client)
                continue
            server = socket.socket()
            server.setblocking(False)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = Link(client, server, self.weather)
            self.links[link] = asyncio.create_task(self._serve(link, client, server))

    async def _serve(self, link: Link, client: socket.socket, server: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().sock_connect(server, (HOST, self._target))
            await link.run()
        except OSError:  # nobody listens there
            _reset(client)
        finally:
            server.close()
            del self.links[link]


def _reset(end: socket.socket) -> None:
    """Close without a farewell: the other side reads a reset, and what it has not read is gone."""
    with contextlib.suppress(OSError):  # closed already
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    end.close()


async def serve() -> None:
    """Obey standard input until it ends."""
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    proxies: dict[str, Proxy] = {}
    while line := await orders.readline():
        order = json.loads(line)
        answer: dict[str, object] = {}
        if order["do"] == "open":
            proxies[order["name"]] = Proxy(order["target"])
            answer["port"] = proxies[order["name"]].port
        else:
            proxies[order["name"]].do(order)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(serve())
