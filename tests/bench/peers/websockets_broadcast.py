"""`websockets.broadcast`, the library's own way to write one message to many: `python -m` this.

On asyncio's own loop, on which it costs less than on uvloop.
"""

from __future__ import annotations

import asyncio

from websockets.asyncio.server import ServerConnection, broadcast, serve

from tests.bench.peers.lines import BACKLOG, lines


async def _main() -> None:
    audience: set[ServerConnection] = set()

    async def hold(connection: ServerConnection) -> None:
        audience.add(connection)
        try:
            await connection.wait_closed()
        finally:
            audience.discard(connection)

    async with serve(
        hold, "127.0.0.1", 0, compression=None, ping_interval=None, close_timeout=0.1, backlog=BACKLOG
    ) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        async for message in lines():
            broadcast(audience, message)


if __name__ == "__main__":
    asyncio.run(_main())
