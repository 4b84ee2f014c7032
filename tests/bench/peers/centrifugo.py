"""Centrifugo with its memory engine, built once by Go; for a fan-out, published to over its HTTP API."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

import httpx
import orjson

from infra.local.lifeline import free_port
from tests.bench.dialects import Centrifugo
from tests.bench.peers.peer import (
    START_DEADLINE_S,
    Encode,
    Missing,
    Peer,
    Skipped,
    cache,
    install,
    process,
    tool,
)

VERSION = "6.9.1"
PUBLISH_DEADLINE_S = 120.0
REQUEST_DELIVERIES = 50_000
MODULE = f"github.com/centrifugal/centrifugo/v6@v{VERSION}"


def settings(port: int) -> dict[str, str]:
    """Anybody may connect and subscribe; no pings while it is measured."""
    return {
        "CENTRIFUGO_HTTP_SERVER_ADDRESS": "127.0.0.1",
        "CENTRIFUGO_HTTP_SERVER_PORT": str(port),
        "CENTRIFUGO_CLIENT_INSECURE": "true",
        "CENTRIFUGO_CLIENT_PING_INTERVAL": "3600s",
        "CENTRIFUGO_HTTP_API_INSECURE": "true",
        "CENTRIFUGO_HEALTH_ENABLED": "true",
        "CENTRIFUGO_LOG_LEVEL": "error",
    }


_CHANNELS = "CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_"
HISTORY = {
    f"{_CHANNELS}HISTORY_SIZE": "10000",
    f"{_CHANNELS}HISTORY_TTL": "1h",
    f"{_CHANNELS}FORCE_RECOVERY": "true",
}
"""Every channel keeps its newest messages, in memory; who comes back may ask for those after an offset."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A running server, and a client of its HTTP API."""

    pid: int
    port: int
    http: httpx.AsyncClient


@contextlib.asynccontextmanager
async def serving(more: dict[str, str] | None = None) -> AsyncIterator[Serving]:
    """One process with these settings too. Raises `Skipped`."""
    binary = cache(f"centrifugo-{VERSION}") / "centrifugo"
    if not binary.exists():
        await install(f"Centrifugo {VERSION}", [tool("go"), "install", MODULE], {"GOBIN": str(binary.parent)})
    port = free_port()
    async with (
        process([str(binary)], settings(port) | (more or {})) as child,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PUBLISH_DEADLINE_S) as http,
    ):
        await _ready(child, http)
        yield Serving(child.pid, port, http)


@contextlib.asynccontextmanager
async def centrifugo(listeners: int, encode: Encode) -> AsyncIterator[Peer]:
    """One process, one channel, no history."""
    async with serving() as server:

        async def publish(texts: Sequence[str]) -> None:
            try:
                for some in parts([encode(text) for text in texts], listeners):
                    answer = await server.http.post("/api/batch", content=batch(some))
                    answer.raise_for_status()
            except httpx.HTTPError as error:
                raise Missing(f"not published: {error!r}") from error

        yield Peer(server.pid, server.port, publish, [()] * listeners, "centrifugo")


def parts(messages: Sequence[bytes], listeners: int) -> Iterator[Sequence[bytes]]:
    """Requests that a busy machine answers within the ten seconds after which the server hangs up."""
    count = max(1, REQUEST_DELIVERIES // listeners)
    for first in range(0, len(messages), count):
        yield messages[first : first + count]


def batch(messages: Sequence[bytes]) -> bytes:
    """The body of a request that publishes them in order."""
    commands = [
        {"publish": {"channel": Centrifugo.channel, "data": orjson.Fragment(message)}} for message in messages
    ]
    return orjson.dumps({"commands": commands})


async def _ready(child: asyncio.subprocess.Process, http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(START_DEADLINE_S):
        while child.returncode is None:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get("/health")).is_success:
                    return
            await asyncio.sleep(0.05)
    raise Skipped("centrifugo did not start; see what it says above")
