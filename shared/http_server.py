"""uvicorn as a part of a process, not its owner: no signal handlers, a port that is known when it starts.

A server may listen on a second port that it shares with other processes (`SO_REUSEPORT`): each has a socket
and a queue of its own there, and Linux deals the newcomers out among them by a hash of their addresses. One
queue for all, as an inherited socket is, gives most of them to whoever wakes up first.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn

from shared.errors import Misconfigured

BACKLOG = 4096
"""Connections that the kernel holds while the loop is busy: a reconnect storm must not be refused."""


class HttpServer(uvicorn.Server):
    """A server on its own port and, until it leaves it, on the one that it shares."""

    def __init__(self, config: uvicorn.Config, own: socket.socket, shared: socket.socket | None) -> None:
        super().__init__(config)
        self.port: int = own.getsockname()[1]
        self.listening = asyncio.Event()
        self._own = own
        self._shared = shared

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to `run_service`, which stops things in order."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does it, and then says so."""
        await super().startup(sockets)
        self.listening.set()

    async def serve_until_told(self) -> None:
        """Serve until `should_exit` is set."""
        await self.serve([self._own, *([self._shared] if self._shared else [])])

    async def leave_shared_port(self) -> None:
        """Newcomers to the shared port go to the others from now on; who waits in our queue is served here.

        Without a shared port, or a second time, nothing happens. Closing resets whoever is in the queue, so
        it is emptied right before. What is left is a handshake whose last packet is on its way at that
        moment; the kernel gives it to the others if `net.ipv4.tcp_migrate_req` is 1.
        """
        if self._shared is None:
            return
        queue = self._shared.dup()
        queue.setblocking(False)
        self._shared = None
        self.servers[-1].close()
        with queue:
            waiting = list(_accepted(queue))
        await asyncio.gather(*map(self._take_in, waiting))

    async def _take_in(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # it may have gone already
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        """What uvicorn makes for every connection."""
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


@contextlib.asynccontextmanager
async def serving(config: uvicorn.Config, shared_port: int = 0) -> AsyncIterator[HttpServer]:
    """Serve `config` on its host and port inside this block; port 0 takes a free one, the server's `port`.

    `shared_port`: also on this one of the same host, together with other processes; 0: none. Leaving the
    block stops accepting, then waits at most `config.timeout_graceful_shutdown` seconds for open requests.
    Raises `Misconfigured` if an address is taken, or if there are no shared ports on this system.
    """
    own = _bind(config.host, config.port)
    try:
        shared = _bind(config.host, shared_port, shared=True) if shared_port else None
    except Misconfigured:
        own.close()
        raise
    server = HttpServer(config, own, shared)
    task = asyncio.create_task(server.serve_until_told(), name="http")
    listening = asyncio.create_task(server.listening.wait())
    try:
        await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        yield server
    finally:
        listening.cancel()
        server.should_exit = True
        await task


def _bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    if shared and not hasattr(socket, "SO_REUSEPORT"):
        raise Misconfigured(
            f"this system has no SO_REUSEPORT, so several processes cannot share port {port}: "
            "run one edge, or put a proxy in front of several"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Misconfigured(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def _accepted(queue: socket.socket) -> Iterator[socket.socket]:
    """Whoever waits; a queue that fills as fast as it is emptied is given up after twice its length."""
    for _ in range(2 * BACKLOG):
        try:
            yield queue.accept()[0]
        except BlockingIOError:
            return
        except OSError:  # gone while it waited, or no descriptor left
            continue
