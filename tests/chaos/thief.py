"""A NATS server with a thief in front of it: what the server sends to one client, without what is stolen.

A republished message is sent once and never again. Losing exactly one, and knowing which, takes a proxy that
reads the protocol: `MSG subject sid [reply] size`, `HMSG subject sid [reply] headers size`, then the payload.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit

Wanted = Callable[[str], bool]
"""Whether the message that comes next on a subject is stolen."""


class Thief:
    """Use as an async context; clients connect to `url`. It steals nothing until `wants` is set."""

    def __init__(self, nats_url: str) -> None:
        self.url = ""
        self.stolen: list[str] = []
        self.wants: Wanted = lambda _: False
        upstream = urlsplit(nats_url)
        assert upstream.hostname is not None
        assert upstream.port is not None
        self._upstream = (upstream.hostname, upstream.port)
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in tuple(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._carry(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _carry(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Both directions, until either side has gone."""
        with contextlib.suppress(OSError):
            server, to_server = await asyncio.open_connection(*self._upstream)
            ways = {
                asyncio.create_task(_pass_on(client, to_server)),
                asyncio.create_task(self._pick(server, to_client)),
            }
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                to_server.close()
        to_client.close()

    async def _pick(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        while line := await server.readline():
            words = line.split()
            if words and words[0] in {b"MSG", b"HMSG"}:
                payload = await server.readexactly(int(words[-1]) + 2)
                subject = words[1].decode()
                if self.wants(subject):
                    self.stolen.append(subject)
                    continue
                line += payload
            to_client.write(line)
            await to_client.drain()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while some := await reader.read(65_536):
        writer.write(some)
        await writer.drain()
