"""Asking a process whether it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from infra.local.lifeline import free_port
from infra.local.probe import readiness


@asynccontextmanager
async def _answering(answer: bytes) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("answer", "ready", "detail"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n{}", True, ""),
        (b'HTTP/1.1 503 X\r\n\r\n{"ready":false,"reasons":{"nats":"away"}}', False, "nats: away"),
        (b'HTTP/1.1 503 X\r\n\r\n{"status":"unavailable","error":"no leader"}', False, "no leader"),
        (b"HTTP/1.1 500 X\r\n\r\noops", False, "HTTP 500"),
        (b"garbage", False, "does not answer"),
        (b"", False, "does not answer"),
    ],
)
async def test_answers_are_understood(answer: bytes, ready: bool, detail: str) -> None:
    """200 is ready; everything else is a reason that a person can read."""
    async with _answering(answer) as url:
        answered = await readiness(url, "/readyz")
    assert answered.ready == ready
    assert detail in answered.detail


async def test_silence_is_an_answer() -> None:
    """Nobody listening, or nobody talking, is not ready, and does not raise."""
    assert not (await readiness(f"http://127.0.0.1:{free_port()}", "/readyz")).ready
    async with asyncio.timeout(30):
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert not (await readiness(url, "/readyz", timeout_s=0.1)).ready
        server.close()
