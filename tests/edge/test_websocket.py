"""Clients that read slowly: nothing is lost, nobody else waits, patience ends (AT-66)."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator

import httpx
import pytest_asyncio
import websockets
from websockets.asyncio.client import ClientConnection

from tests.support.peer import Peer, token
from tests.support.stack import Stack
from tests.support.waiting import eventually

TEXT = "x" * 4000
MESSAGES = 400
"""1.6 MB: far more than the kernel and the edge hold for one connection."""

UNSENT = "parley_edge_unsent_bytes"
UNSENT_MAX = 32 * 1024
MEMORY = "process_resident_memory_bytes"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def impatient(stack: Stack) -> str:
    """An edge that waits one second for a reader who does not read, with a short ring."""
    await stack.add_edge(PARLEY_STALL_LIMIT_S="1", PARLEY_RING_ENTRIES_MAX="20")
    return stack.address(len(stack.edges) - 1)


@contextlib.asynccontextmanager
async def lazy(url: str, user: str) -> AsyncIterator[ClientConnection]:
    """A session that reads only when it is asked to, from a kernel that holds little for it."""
    host, port = url.removeprefix("http://").split(":")
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect((host, int(port)))
    raw.setblocking(False)
    address = url.replace("http", "ws") + "/v1/ws"
    async with websockets.connect(
        address, sock=raw, max_queue=1, ping_interval=None, close_timeout=1
    ) as opened:
        await opened.send(json.dumps({"type": "hello", "token": token(user)}))
        welcome = json.loads(await opened.recv())
        assert welcome["type"] == "welcome"
        yield opened


async def counted(url: str, metric: str) -> float:
    """A number from an edge's /metrics; 0 if it was never counted."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{url}/metrics")).text
    found = re.search(rf"^{re.escape(metric)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def talk(peer: Peer, channel: str) -> None:
    """Post all messages, and see each of them come back at once: whoever reads does not wait."""
    for _ in range(MESSAGES):
        ack = await peer.do("send", channel=channel, text=TEXT)
        await peer.event(channel, ack["seq"])


async def test_a_slow_reader_loses_nothing(stack: Stack) -> None:
    """Who stops reading and goes on is fed from its cursor: every number once, in order (P19)."""
    channel, url = "slow-c", stack.url
    async with Peer.opened(url, "slow-ann") as ann:
        await ann.do("create_channel", channel=channel, kind="public", name="c")
        await ann.do("invite", channel=channel, user="slow-bob")
        async with lazy(url, "slow-bob") as bob:
            await talk(ann, channel)
            await eventually(lambda: _positive(url, UNSENT))
            assert await counted(url, UNSENT) <= UNSENT_MAX
            seqs: list[int] = []
            while not seqs or seqs[-1] < MESSAGES + 2:
                frame = json.loads(await bob.recv())
                if frame["type"] == "event":
                    seqs.append(frame["seq"])
    assert seqs == list(range(seqs[0], MESSAGES + 3))
    assert seqs[0] <= 3
    await eventually(lambda: _nothing_unsent(url))


async def test_a_reader_who_never_reads_is_closed(impatient: str) -> None:
    """After the limit the session ends as lagging (4002, resumable); it never costs what it missed."""
    channel = "stalled-c"
    async with Peer.opened(impatient, "stalled-ann") as ann:
        await ann.do("create_channel", channel=channel, kind="public", name="c")
        await ann.do("invite", channel=channel, user="stalled-bob")
        async with lazy(impatient, "stalled-bob"):
            before = await counted(impatient, MEMORY)
            await talk(ann, channel)
            metric = 'parley_edge_sessions_closed_total{code="4002"}'
            await eventually(lambda: _positive(impatient, metric))
            assert await counted(impatient, MEMORY) - before < 16 * 2**20
        assert (await ann.do("send", channel=channel, text="still here"))["seq"] == MESSAGES + 3


async def _positive(url: str, metric: str) -> bool:
    return await counted(url, metric) > 0


async def _nothing_unsent(url: str) -> bool:
    return await counted(url, UNSENT) == 0
