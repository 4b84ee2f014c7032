"""The peers that are told by standard input what to send: C loop, Starlette, websockets, ws, socket.io."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator

from tests.bench.peers.peer import HERE, Encode, Peer, cache, install, piped, tool

WS_VERSION = "8.23.0"
SOCKET_IO_VERSION = "4.8.4"


@contextlib.asynccontextmanager
async def send_loop(listeners: int, encode: Encode) -> AsyncIterator[Peer]:
    """A loop of `send(2)` in C, compiled here and now."""
    binary = cache("send-loop") / "send_loop"
    await install(
        "the C loop", [tool("cc", "gcc", "clang"), "-O2", "-o", str(binary), str(HERE / "send_loop.c")]
    )
    async with piped([str(binary)], listeners, encode) as peer:
        yield peer


@contextlib.asynccontextmanager
async def starlette_loop(listeners: int, encode: Encode) -> AsyncIterator[Peer]:
    """`await websocket.send_text(…)` for each."""
    async with piped([sys.executable, "-m", "tests.bench.peers.starlette_loop"], listeners, encode) as peer:
        yield peer


@contextlib.asynccontextmanager
async def websockets_broadcast(listeners: int, encode: Encode) -> AsyncIterator[Peer]:
    """`websockets.broadcast`."""
    module = "tests.bench.peers.websockets_broadcast"
    async with piped([sys.executable, "-m", module], listeners, encode) as peer:
        yield peer


@contextlib.asynccontextmanager
async def ws(listeners: int, encode: Encode) -> AsyncIterator[Peer]:
    """Node's `ws`."""
    modules = await _npm("ws", WS_VERSION)
    command = [tool("node"), str(HERE / "ws.cjs")]
    async with piped(command, listeners, encode, env={"NODE_PATH": modules}) as peer:
        yield peer


@contextlib.asynccontextmanager
async def socket_io(listeners: int, encode: Encode) -> AsyncIterator[Peer]:
    """socket.io on node, with its own protocol."""
    modules = await _npm("socket.io", SOCKET_IO_VERSION)
    command = [tool("node"), str(HERE / "socket_io.cjs")]
    async with piped(command, listeners, encode, dialect="socket.io", env={"NODE_PATH": modules}) as peer:
        yield peer


async def _npm(name: str, version: str) -> str:
    """A package in a directory of its own, fetched once; the directory of its modules."""
    npm = tool("npm")
    tool("node")
    path = cache(f"{name}-{version}")
    modules = path / "node_modules"
    if not (path / "whole").exists():
        options = ["--prefix", str(path), "--no-audit", "--no-fund", "--ignore-scripts"]
        await install(f"{name} {version}", [npm, "install", *options, f"{name}@{version}"])
        (path / "whole").touch()
    return str(modules)
