"""The edge as an ASGI application, and as uvicorn serves it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge import metrics
from edge.connections import Connections
from edge.door import Door
from edge.http import problems
from edge.http.channels import ChannelRoutes
from edge.http.events import EventRoutes
from edge.http.messages import MessageRoutes
from edge.http.search import SearchRoutes
from edge.http.sql import SqlRoutes
from edge.node import Node
from edge.settings import EdgeSettings
from shared.errors import ParleyError, UpgradeRequired
from shared.health import Health
from shared.http_server import BACKLOG

WEB = Path(__file__).parent / "web"
API = Path(__file__).parent / "api"
GRACE_S = 5
_PAGE_HEADERS = (
    (b"content-security-policy", b"default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)


def application(node: Node, health: Health) -> Starlette:
    """Every route of an edge."""
    routes: Sequence[BaseRoute] = [
        Route("/v1/ws", _no_upgrade),
        *ChannelRoutes(node).routes,
        *EventRoutes(node).routes,
        *MessageRoutes(node).routes,
        *SearchRoutes(node).routes,
        *SqlRoutes(node).routes,
        Route("/v1/asyncapi.json", _api_file("asyncapi.json")),
        Route("/v1/openapi.json", _api_file("openapi.json")),
        *health.routes,
        Mount("/", StaticFiles(directory=WEB, html=True), middleware=[Middleware(GZipMiddleware)]),
    ]
    return Starlette(
        routes=routes,
        exception_handlers={ParleyError: problems.handle},
        middleware=[Middleware(_Observed)],
    )


def server_config(app: Starlette, connections: Connections, settings: EdgeSettings) -> uvicorn.Config:
    """How uvicorn serves it: WebSockets are taken out of its hands at the door."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=partial(Door, connections),  # type: ignore[arg-type]  # uvicorn only calls it
        ws="none",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )


class _Observed:
    """Counts responses by route, and puts the security headers on every one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_PAGE_HEADERS]
                metrics.REQUESTS.labels(_route(scope), str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, observed)


def _route(scope: Scope) -> str:
    """The route's pattern: a closed set, however many channels there are (AT-83)."""
    path = str(scope["path"])
    if path.startswith("/v1/channels"):
        tail = path.split("/")[4:5]
        known = {"events", "messages", "members", "threads"}
        return "/v1/channels/{channel}" + (f"/{tail[0]}" if tail and tail[0] in known else "")
    return path if path in {"/v1/search", "/v1/sql", "/healthz", "/readyz", "/metrics"} else "page"


async def _no_upgrade(_: Request) -> Response:
    raise UpgradeRequired("this is a WebSocket: ask for an upgrade")


def _api_file(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def serve(_: Request) -> Response:
        return FileResponse(API / name, media_type="application/json")

    return serve
