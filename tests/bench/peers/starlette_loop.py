"""A loop of `await websocket.send_text(…)`, as tutorials of Starlette have it: `python -m` this."""

from __future__ import annotations

import asyncio
import socket

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from tests.bench.peers.lines import BACKLOG, lines


class _Audience:
    def __init__(self) -> None:
        self._members: list[WebSocket] = []

    async def hold(self, websocket: WebSocket) -> None:
        await websocket.accept()
        self._members.append(websocket)
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass
        self._members.remove(websocket)

    async def broadcast(self, message: str) -> None:
        for websocket in self._members:
            await websocket.send_text(message)


async def _main() -> None:
    audience = _Audience()
    app = Starlette(routes=[WebSocketRoute("/", audience.hold)])
    config = uvicorn.Config(app, lifespan="off", log_level="error", ws_ping_interval=None, backlog=BACKLOG)
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    serving = asyncio.create_task(uvicorn.Server(config).serve([listener]))
    print(listener.getsockname()[1], flush=True)
    async for message in lines():
        await audience.broadcast(message)
    serving.cancel()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
        runner.run(_main())
