"""The HTTP server: real port, real requests, no hold on the process."""

from __future__ import annotations

import signal
import socket

import httpx
import pytest
import uvicorn

from shared.errors import Misconfigured
from shared.health import Health
from shared.http_server import serving


def config(port: int = 0, host: str = "127.0.0.1") -> uvicorn.Config:
    """A server of nothing but health."""
    return uvicorn.Config(
        Health().app, host=host, port=port, log_config=None, lifespan="off", timeout_graceful_shutdown=1
    )


async def test_it_serves_inside_the_block_only() -> None:
    """The yielded port answers at once; after the block it is closed."""
    async with serving(config()) as port, httpx.AsyncClient() as client:
        assert port > 0
        assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


async def test_a_taken_port_is_a_setting_to_change() -> None:
    """The error names the address; the process is not ended by the server."""
    async with serving(config()) as port:
        with pytest.raises(Misconfigured, match=f"127.0.0.1:{port}"):
            async with serving(config(port)):
                pass


async def test_signals_stay_with_the_service() -> None:
    """Serving installs no signal handler: the order of a stop is decided elsewhere."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    async with serving(config()):
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


async def test_an_error_in_the_block_still_closes_the_port() -> None:
    """The server ends with its block, however that ends."""
    port = 0
    with pytest.raises(RuntimeError, match="inside"):
        async with serving(config()) as port:
            raise RuntimeError("inside")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
