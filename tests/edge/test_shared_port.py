"""Several edges on one port: all of them are met there, and one that goes is met no more."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.peer import Peer
from tests.support.ports import own_port
from tests.support.services import ServiceProcess
from tests.support.stack import Stack, running_stack

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.faults]

NEWCOMERS = 60
"""So many miss one of three edges by chance once in ten thousand million runs."""

UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)

ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[int]:
    """The port."""
    yield own_port()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory, shared: int) -> AsyncIterator[Stack]:
    """Three edges on it; each test starts again what it has ended."""
    settings = {"PARLEY_SHARED_PORT": str(shared), "PARLEY_DRAIN_S": "1"}
    async with running_stack(tmp_path_factory.mktemp("shared"), edges=3, **settings) as running:
        yield running


async def test_newcomers_spread_over_the_edges(stack: Stack, shared: int) -> None:
    """Each edge gets some; when one is killed the others get them all; its successor gets some again."""
    first, *others = stack.edges
    assert set(await _met(shared)) == {_name(edge) for edge in stack.edges}
    first.kill()
    met = await _met(shared)
    assert set(met) == {_name(edge) for edge in others}
    assert met.total() == NEWCOMERS
    await first.start()
    assert set(await _met(shared)) == {_name(edge) for edge in stack.edges}


async def test_a_draining_edge_is_met_no_more(stack: Stack, shared: int) -> None:
    """From its first `bye` on every newcomer to the shared port gets a session with another edge."""
    leaving, *others = stack.edges
    async with contextlib.AsyncExitStack() as sessions:
        old = [await sessions.enter_async_context(Peer.opened(_url(leaving.port), f"u{n}")) for n in range(3)]
        ended = asyncio.create_task(asyncio.to_thread(leaving.kill, signal.SIGTERM))
        byes = [asyncio.create_task(peer.take("bye")) for peer in old]
        await asyncio.wait(byes, return_when=asyncio.FIRST_COMPLETED)
        met = await _met(shared)
        await asyncio.gather(*byes)
    assert set(met) == {_name(edge) for edge in others}
    assert met.total() == NEWCOMERS
    assert await ended == 0
    await leaving.start()


async def test_nobody_in_the_queue_is_lost(stack: Stack, shared: int) -> None:
    """Who has reached an edge when it is told to stop is let in: not reset, and not refused."""
    leaving = stack.edges[0]
    os.kill(leaving.pid, signal.SIGSTOP)
    waiting = [socket.create_connection(("127.0.0.1", shared)) for _ in range(NEWCOMERS)]
    for connection in waiting:
        connection.sendall(UPGRADE)
    os.kill(leaving.pid, signal.SIGTERM)
    os.kill(leaving.pid, signal.SIGCONT)
    assert Counter(await asyncio.gather(*map(_first_line, waiting))) == {ACCEPTED: NEWCOMERS}
    assert await asyncio.to_thread(leaving.kill, signal.SIGCONT) == 0
    await leaving.start()


async def _met(port: int) -> Counter[str]:
    """The edges that newcomers get a session with."""
    met: Counter[str] = Counter()
    for number in range(NEWCOMERS):
        async with Peer.opened(_url(port), f"new-{number}") as peer:
            met[peer.welcome["node"]] += 1
    return met


async def _first_line(connection: socket.socket) -> bytes:
    reader, writer = await asyncio.open_connection(sock=connection)
    line = await reader.readline()
    writer.close()
    return line


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _name(edge: ServiceProcess) -> str:
    return f"127.0.0.1:{edge.port}"
