"""uvicorn as a part of a process, not its owner: no signal handlers, a port that is known when it starts."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn

from shared.errors import Misconfigured

BACKLOG = 4096
"""Connections that the kernel holds while the loop is busy: a reconnect storm must not be refused."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to `run_service`, which stops things in order."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@contextlib.asynccontextmanager
async def serving(config: uvicorn.Config) -> AsyncIterator[int]:
    """Serve `config` on its host and port inside this block; yields the real port (0 takes a free one).

    Leaving the block stops accepting, then waits at most `config.timeout_graceful_shutdown` seconds for
    open requests. Raises `Misconfigured` if the address is taken.
    """
    listener = _bind(config.host, config.port)
    server = _Server(config)
    task = asyncio.create_task(server.serve([listener]), name="http")
    listening = asyncio.create_task(server.listening.wait())
    try:
        await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        yield listener.getsockname()[1]
    finally:
        listening.cancel()
        server.should_exit = True
        await task


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Misconfigured(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener
