"""A server that serves the page and speaks real frames, but only as a test tells it to.

For what a real edge does only when something breaks: holes, repetitions, gaps, resets, refusals. Frames are
built from the edge's own models, so they cannot differ from the real ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from edge.core.server_frames import Ack, ChannelInfo, Limits, Resumed, Welcome
from shared import events as e
from shared.ids import (
    ChannelId,
    ChannelKey,
    CommandId,
    Seq,
    StreamSeq,
    UserId,
    WorkspaceId,
    new_command_id,
)
from shared.wire_form import wire

WEB = Path(__file__).parents[2] / "edge" / "web"
BORN_MS = 1_790_000_000_000
LIMITS = Limits(
    frame_bytes=65536,
    text_bytes=8192,
    cursors_per_frame=500,
    commands_per_s=20,
    commands_burst=40,
    commands_in_flight=64,
    typing_members=1000,
)
DEADLINE_S = 30.0


def event(seq: int, what: e.KnownEvent, channel: str = "tea", void: str | None = None) -> dict[str, object]:
    """The frame of an event, as every edge writes it."""
    key = ChannelKey(WorkspaceId("demo"), ChannelId(channel))
    at_us = (BORN_MS + seq * 1000) * 1000
    frame: dict[str, object] = json.loads(wire(e.Recorded(key, Seq(seq), StreamSeq(seq), at_us, what, void)))
    return frame


def posted(
    seq: int, text: str, author: str = "bob", channel: str = "tea", command: str | None = None
) -> dict[str, object]:
    """The frame of a message."""
    known = CommandId(command) if command else new_command_id(BORN_MS)
    return event(seq, e.MessagePosted(id=known, author=UserId(author), text=text), channel)


def channel_info(channel: str = "tea", *, head: int = 0, **fields: object) -> ChannelInfo:
    """A channel as `welcome` describes it."""
    given = {
        "id": channel, "kind": "public", "name": channel, "topic": "", "role": "member", "epoch": "e1",
        "head": head, "read": head, "unread": 0, "archived": False, "members": 2,
    }  # fmt: skip
    return ChannelInfo.model_validate({**given, **fields})


class ScriptedSession:
    """One connection that the page opened; its first frame was `hello`."""

    def __init__(self, socket: WebSocket, hello: dict[str, object]) -> None:
        self.hello = hello
        self._socket = socket
        self.received: asyncio.Queue[dict[str, object]] = asyncio.Queue(1000)

    async def send(self, *frames: BaseModel | dict[str, object] | list[dict[str, object]]) -> None:
        """Send frames as the edge encodes them."""
        for frame in frames:
            if isinstance(frame, BaseModel):
                await self._socket.send_text(frame.model_dump_json(exclude_none=True))
            else:
                await self._socket.send_text(json.dumps(frame))

    async def welcome(self, *channels: ChannelInfo, user: str = "ana", heartbeat_s: float = 20.0) -> None:
        """Open the session."""
        await self.send(
            Welcome(
                session="s1", node="n1", user=UserId(user), workspace=WorkspaceId("demo"),
                server_time="2026-11-25T10:00:00.000Z", expires_at=None, heartbeat_s=heartbeat_s,
                limits=LIMITS, channels=list(channels), more=False,
            )
        )  # fmt: skip

    async def take(self, kind: str) -> dict[str, object]:
        """The next frame of this type from the page; others before it are passed over."""
        async with asyncio.timeout(DEADLINE_S):
            while (frame := await self.received.get())["type"] != kind:
                pass
        return frame

    async def ack(self, command: dict[str, object], seq: int, *, duplicate: bool = False) -> None:
        """Say that a command is recorded."""
        await self.send(
            Ack(
                id=CommandId(str(command["id"])), channel=ChannelId(str(command.get("channel", "tea"))),
                seq=Seq(seq), ts="2026-11-25T10:00:00.000Z", duplicate=duplicate,
            )
        )  # fmt: skip

    async def resumed(self, after: int, upto: int, **fields: object) -> None:
        """End a replay."""
        given = {"channel": "tea", "from": after, "to": upto, "complete": True, "count": upto - after}
        await self.send(Resumed.model_validate({**given, **fields}))

    async def close(self, code: int = 1011, reason: str = "") -> None:
        """End the connection, by default without a word, as a failing proxy does."""
        await self._socket.close(code, reason)


class ScriptedEdge:
    """Serves the page, its history, and sessions for a test to play."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.history: dict[str, list[dict[str, object]]] = defaultdict(list)
        self.listed: list[ChannelInfo] = []
        self.refuse_history = False
        self._sessions: asyncio.Queue[ScriptedSession] = asyncio.Queue(100)

    @property
    def url(self) -> str:
        """Where the page is, with a token in the fragment."""
        return f"http://127.0.0.1:{self.port}/"

    async def session(self) -> ScriptedSession:
        """The next connection of the page, after its hello."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._sessions.get()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[ScriptedEdge]:
        """Serve until the block ends."""
        app = Starlette(
            routes=[
                WebSocketRoute("/v1/ws", self._play),
                Route("/v1/channels", self._list),
                Route("/v1/channels/{channel}/events", self._page),
                Mount("/", StaticFiles(directory=WEB, html=True)),
            ]
        )
        config = uvicorn.Config(app, log_level="warning", lifespan="off", ws="websockets-sansio")
        server = uvicorn.Server(config)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[self._listener]))
            try:
                yield self
            finally:
                server.should_exit = True
                server.force_exit = True

    async def _play(self, socket: WebSocket) -> None:
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            session = ScriptedSession(socket, json.loads(await socket.receive_text()))
            await self._sessions.put(session)
            while True:
                await session.received.put(json.loads(await socket.receive_text()))

    async def _list(self, request: Request) -> JSONResponse:
        assert request.headers["authorization"].startswith("Bearer ")
        return JSONResponse({"channels": [info.model_dump() for info in self.listed], "more": False})

    async def _page(self, request: Request) -> JSONResponse:
        if self.refuse_history:
            return JSONResponse({"title": "Service Unavailable", "detail": "the archive is away"}, 503)
        events = self.history[request.path_params["channel"]]
        limit = int(request.query_params["limit"])
        if "before" in request.query_params:
            before = int(request.query_params["before"])
            page = [one for one in events if int(str(one["seq"])) < before][-limit:]
        else:
            after = int(request.query_params["after"])
            page = [one for one in events if int(str(one["seq"])) > after][:limit]
        return JSONResponse({"events": page, "more": False})
