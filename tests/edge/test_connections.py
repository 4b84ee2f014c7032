"""Admission, NATS away, and the way out: what a session meets around its own life (P10, P24)."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
import websockets
from websockets.asyncio.client import ClientConnection

from edge import rush
from edge.app import application, server_config
from edge.auth import Authenticator
from edge.connections import Connections
from edge.core import admission, wire_errors
from edge.node import Node, assembled
from edge.settings import EdgeSettings
from shared.bus import Bus
from shared.health import Health
from shared.http_server import serving
from shared.settings import CommonSettings
from shared.streams import Layout
from shared.subjects import DIRECTORY, bucket_stream
from tests.support.container import server_for_tests
from tests.support.http import Reply, fetch
from tests.support.nats import NatsServer
from tests.support.peer import SECRET, Peer, token
from tests.support.services import ServiceProcess
from tests.support.waiting import eventually

UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
QUESTIONS_MAX = 500_000
"""Far more than the kernel holds on the way."""


@pytest_asyncio.fixture(loop_scope="session")
async def alone(tmp_path: Path) -> AsyncIterator[tuple[NatsServer, ServiceProcess, str]]:
    """One edge that takes few sessions, on a NATS server that may be killed."""
    nats = server_for_tests(tmp_path / "nats")
    nats.start()
    edge = ServiceProcess(
        "edge",
        tmp_path / "edge.log",
        PARLEY_NATS_URL=nats.url,
        PARLEY_PARTITIONS="1",
        PARLEY_JWT_SECRET=SECRET,
        PARLEY_SESSIONS_MAX="2",
        PARLEY_SESSIONS_RATE="0.01",
        PARLEY_SESSIONS_BURST="5",
        PARLEY_DRAIN_S="80",
    )
    try:
        await edge.start()
        yield nats, edge, f"http://127.0.0.1:{edge.port}"
    finally:
        if edge.running:
            edge.kill()
        nats.kill()


async def test_too_many_sessions_are_refused_before_the_upgrade(
    alone: tuple[NatsServer, ServiceProcess, str],
) -> None:
    """A full edge, and one that is stormed, answer 503 with the bound and the time to come back (AT-64)."""
    _, _, url = alone
    async with Peer.opened(url, "one"), Peer.opened(url, "two"):
        full = await _refusal(url)
        assert (full.status, full.json["limit"]) == (503, "sessions_max")
    await eventually(lambda: _sessions(url) == 0)
    for _ in range(3):  # the rest of the burst
        async with Peer.opened(url, "again"):
            pass
        await eventually(lambda: _sessions(url) == 0)
    stormed = await _refusal(url)
    assert (stormed.status, stormed.json["limit"], stormed.json["code"]) == (503, "sessions", "unavailable")
    assert 1 <= int(stormed.headers["retry-after"]) <= 100


async def test_nats_away(alone: tuple[NatsServer, ServiceProcess, str]) -> None:
    """Without NATS the edge says so, refuses quickly, keeps its sessions, and goes on afterwards."""
    nats, _, url = alone
    async with Peer.opened(url, "ann") as ann:
        await ann.do("create_channel", kind="public", name="c", channel="c")
        await ann.do("send", channel="c", text="before")
        nats.kill()
        await eventually(lambda: fetch(url, None, "/readyz").status == 503)
        assert fetch(url, None, "/healthz").status == 200
        refused = await ann.ask("send", channel="c", text="meanwhile")
        assert refused["code"] in {"unavailable", "unknown"}
        assert refused["retry_after_ms"] > 0
        async with Peer.connect(url) as late:
            await late.send({"type": "hello", "token": token("bob")})
            bye = await late.take("bye")
            assert (bye["code"], bye["resumable"], await late.closed()) == (4004, True, 4004)
        nats.start()
        await eventually(lambda: fetch(url, None, "/readyz").status == 200)
        again = {"type": "send", "id": refused["id"], "channel": "c", "text": "meanwhile"}
        await ann.send(again)
        assert (await ann.answer(refused["id"]))["seq"] == 3
        assert (await ann.do("send", channel="c", text="after"))["seq"] == 4


async def test_a_directory_that_is_away_ends_no_session(
    alone: tuple[NatsServer, ServiceProcess, str],
) -> None:
    """Who comes back follows what they name, and is told the rest when it can be read (P6)."""
    nats, _, url = alone
    async with Peer.opened(url, "ann") as ann:
        await ann.do("create_channel", kind="public", name="c", channel="c")
        entry = await ann.take("channel", member=True)
        cursors = {"c": {"epoch": entry["channel"]["epoch"], "seq": 1}}
    directory = bucket_stream(DIRECTORY)
    async with Bus.connect(CommonSettings(nats_url=nats.url), "operator") as bus:
        config = (await bus.api(f"STREAM.INFO.{directory}", {}))["config"]
        assert isinstance(config, dict)
        await bus.api(f"STREAM.DELETE.{directory}", {})
        async with Peer.opened(url, "ann", cursors=cursors) as back:
            assert (await back.take("resumed", channel="c"))["complete"]
            assert (await back.do("send", channel="c", text="meanwhile"))["seq"] == 2
            await bus.api(f"STREAM.CREATE.{directory}", config)
            rest = await back.take("channels")
            assert (rest["channels"], rest["more"]) == ([], False)


async def test_draining_edge_is_not_ready(alone: tuple[NatsServer, ServiceProcess, str]) -> None:
    """While it drains an edge is alive, not ready, and lets nobody in (P24, AT-68)."""
    _, edge, url = alone
    async with Peer.opened(url, "ann") as ann, Peer.opened(url, "bob") as bob:
        ended = asyncio.create_task(asyncio.to_thread(edge.kill, signal.SIGTERM))
        byes = [asyncio.create_task(peer.take("bye")) for peer in (ann, bob)]
        await asyncio.wait(byes, return_when=asyncio.FIRST_COMPLETED)
        assert fetch(url, None, "/readyz").status == 503
        refused = await _refusal(url)
        assert (refused.status, refused.json["limit"]) == (503, "draining")
    assert await ended == 0


async def test_who_has_come_is_let_in_before_an_edge_drains(
    nats_server: NatsServer, bus: Bus, layout: Layout
) -> None:
    """Who is at the door when the shared port is left may still enter; who says nothing holds nobody up."""
    async with _inside(nats_server, bus, layout) as (_, connections, port):
        silent_reader, silent = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await eventually(lambda: len(connections.doors) == 2)
        entering = asyncio.create_task(_left(connections))
        await asyncio.sleep(0)
        writer.write(UPGRADE)
        assert (await reader.readline()).startswith(b"HTTP/1.1 101 ")
        await entering
        silent.write(UPGRADE)
        assert (await silent_reader.readline()).startswith(b"HTTP/1.1 503 ")
        silent.close()
        writer.close()


async def test_a_crowds_hellos_wait(
    nats_server: NatsServer, bus: Bus, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While they wait long nobody else is let in, and who waits is not closed for it (AT-64)."""
    hello = {"type": "hello", "token": token("ann")}
    async with _inside(nats_server, bus, layout, hello_deadline_s=0.5, heartbeat_s=1.0) as inside:
        node, connections, port = inside
        url = f"http://127.0.0.1:{port}"
        ticking = asyncio.create_task(connections.tick())
        monkeypatch.setattr(rush, "HELLOS_OF_TURN", 0)
        async with Peer.connect(url) as first, Peer.connect(url) as silent:
            await first.send(hello)
            assert await silent.closed() == wire_errors.HELLO_TIMEOUT.code
            assert node.rush.behind_s(asyncio.get_running_loop().time()) > 0.0
            monkeypatch.setattr(admission, "BEHIND_MAX_S", 0.0)
            refused = await _refusal(url)
            assert (refused.status, refused.json["limit"]) == (503, "sessions")
            monkeypatch.undo()
            async with Peer.connect(url) as second:
                await second.send(hello)
                await first.take("welcome")
                await second.take("welcome")
        ticking.cancel()


async def test_who_is_lost_with_a_ping_unanswered_is_not_looked_at_again(
    nats_server: NatsServer, bus: Bus, layout: Layout
) -> None:
    """A session that ends while it owes an answer is gone, also when the answer would have been due (P8)."""
    async with _inside(nats_server, bus, layout, heartbeat_s=1.0) as (_, connections, port):
        ticking = asyncio.create_task(connections.tick())
        async with websockets.connect(f"ws://127.0.0.1:{port}/v1/ws", ping_interval=None) as lost:
            await lost.send(json.dumps({"type": "hello", "token": token("ann")}))
            while json.loads(await lost.recv())["type"] != "ping":
                pass
            lost.transport.abort()
        async with Peer.opened(f"http://127.0.0.1:{port}", "bob") as bob:
            bob.answers_pings = True
            await bob.take("ping")
            await eventually(lambda: len(connections) == 1)
        ticking.cancel()


@asynccontextmanager
async def _inside(
    nats_server: NatsServer, bus: Bus, layout: Layout, **given: float
) -> AsyncIterator[tuple[Node, Connections, int]]:
    """An edge in this process, and its port."""
    settings = EdgeSettings.model_validate(
        {"nats_url": nats_server.url, "partitions": 2, "port": 0, "jwt_secret": SECRET, "drain_s": 0} | given
    )
    async with assembled(bus, layout, settings, Authenticator.of(settings)) as node:
        connections = Connections(node)
        async with serving(server_config(application(node, Health()), connections, settings)) as server:
            yield node, connections, server.port


async def _left(connections: Connections) -> None:
    await connections.let_in()
    await connections.drain()


async def test_answers_that_nobody_reads_are_bounded(alone: tuple[NatsServer, ServiceProcess, str]) -> None:
    """A client that asks and never reads is not read from either: it costs a constant (AT-66)."""
    _, _, url = alone
    before = _resident(url)
    address = url.replace("http", "ws") + "/v1/ws"
    async with websockets.connect(address, max_queue=1, ping_interval=None, close_timeout=0) as greedy:
        await greedy.send(json.dumps({"type": "hello", "token": token("greedy")}))
        assert await _asked_until_stuck(greedy) < QUESTIONS_MAX
        assert _resident(url) - before < 16 * 2**20
        greedy.transport.abort()


async def _asked_until_stuck(greedy: ClientConnection) -> int:
    question = json.dumps({"type": "ping", "id": "x" * 64})
    for asked in range(QUESTIONS_MAX):
        try:
            async with asyncio.timeout(1):
                await greedy.send(question)
        except TimeoutError:
            return asked
    return QUESTIONS_MAX


async def _refusal(url: str) -> Reply:
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        async with Peer.connect(url):
            pass
    response = refused.value.response
    headers = {name.lower(): value for name, value in response.headers.raw_items()}
    return Reply(response.status_code, headers, bytes(response.body or b""))


async def test_written_events_are_counted(alone: tuple[NatsServer, ServiceProcess, str]) -> None:
    """What each session was sent shows within a second or two, and stays when the session has ended."""
    _, _, url = alone
    async with Peer.opened(url, "ann") as ann:
        await ann.do("create_channel", channel="counted", kind="public", name="c")
        async with Peer.opened(url, "bob") as bob:
            await bob.do("join", channel="counted")
            await bob.take("channel", member=True)
            for number in range(5):
                last = (await ann.do("send", channel="counted", text=str(number)))["seq"]
            for peer in (ann, bob):
                await peer.event("counted", last)
            sent = [frame for peer in (ann, bob) for frame in await peer.quiet() if frame["type"] == "event"]
        assert len(sent) >= 8
        await eventually(lambda: _delivered(url) == len(sent) + 2)


def _delivered(url: str) -> float:
    return _metric(url, "parley_edge_delivered_events_total")


def _metric(url: str, name: str) -> float:
    lines = fetch(url, None, "/metrics").body.decode().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))


def _sessions(url: str) -> float:
    return _metric(url, "parley_edge_sessions")


def _resident(url: str) -> float:
    return _metric(url, "process_resident_memory_bytes")
