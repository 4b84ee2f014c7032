"""The HTTP server: real port, real requests, no hold on the process."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Sequence

import httpx
import pytest
import uvicorn
import uvloop

from shared.errors import Misconfigured
from shared.health import Health
from shared.http_server import HttpServer, serving
from tests.support.ports import own_port


def config(port: int = 0, host: str = "127.0.0.1") -> uvicorn.Config:
    """A server of nothing but health."""
    return uvicorn.Config(
        Health().app, host=host, port=port, log_config=None, lifespan="off", timeout_graceful_shutdown=1
    )


async def test_it_serves_inside_the_block_only() -> None:
    """The yielded port answers at once; after the block it is closed."""
    async with serving(config()) as server, httpx.AsyncClient() as client:
        assert server.port > 0
        assert (await client.get(f"http://127.0.0.1:{server.port}/healthz")).status_code == 200
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


async def test_a_taken_port_is_a_setting_to_change() -> None:
    """The error names the address; the process is not ended by the server."""
    async with serving(config()) as server:
        with pytest.raises(Misconfigured, match=f"127.0.0.1:{server.port}"):
            async with serving(config(server.port)):
                pass


async def test_signals_stay_with_the_service() -> None:
    """Serving installs no signal handler: the order of a stop is decided elsewhere."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    async with serving(config()):
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


async def test_an_error_in_the_block_still_closes_the_port() -> None:
    """The server ends with its block, however that ends."""
    port = own_port()
    with pytest.raises(RuntimeError, match="inside"):
        async with serving(config(port)):
            raise RuntimeError("inside")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


NEWCOMERS = 64
"""All at one of two servers by chance: once in 2^63 runs."""


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_two_servers_share_a_port(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Each gets some newcomers; who waits at one that leaves is served there, later ones by the other."""

    async def share() -> None:
        port = own_port()
        async with serving(config(), port) as leaving, serving(config(), port) as staying:
            await _served(_waiting(port))
            assert leaving.port != staying.port
            first, second = _answers(leaving, staying)
            assert (first > 0, second > 0, first + second) == (True, True, NEWCOMERS)

            waiting = _waiting(port)  # the loop has seen none of them yet
            await leaving.leave_shared_port()
            await _served(waiting)
            third, fourth = _answers(leaving, staying)
            assert (third > first, third + fourth) == (True, 2 * NEWCOMERS)

            await _served(_waiting(port))
            assert _answers(leaving, staying) == (third, fourth + NEWCOMERS)
            async with httpx.AsyncClient() as client:
                own = f"http://127.0.0.1:{leaving.port}/healthz"
                assert (await client.get(own)).status_code == 200
            await leaving.leave_shared_port()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(share())


async def test_a_shared_port_that_is_taken_is_a_setting_to_change() -> None:
    """Who did not say that it shares a port keeps it alone; the other's own port is free again."""
    own = own_port()
    async with serving(config()) as alone:
        with pytest.raises(Misconfigured, match=f"127.0.0.1:{alone.port}"):
            async with serving(config(own), alone.port):
                pass
    async with serving(config(own)):
        pass


async def test_a_system_without_shared_ports_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to do instead; a server that shares nothing works there."""
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    with pytest.raises(Misconfigured, match="run one edge, or put a proxy in front"):
        async with serving(config(), own_port()):
            pass
    async with serving(config()):
        pass


def _waiting(port: int) -> list[socket.socket]:
    """Connections that nobody had a turn to accept yet."""
    return [socket.create_connection(("127.0.0.1", port)) for _ in range(NEWCOMERS)]


async def _served(connections: Sequence[socket.socket]) -> None:
    """Each asks for something, and gets it."""

    async def ask(connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()

    await asyncio.gather(*map(ask, connections))


def _answers(*servers: HttpServer) -> tuple[int, ...]:
    return tuple(server.server_state.total_requests for server in servers)
