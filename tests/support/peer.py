"""A raw WebSocket client for tests: independent of the SDK, it sends what it is told and hides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from shared.ids import CommandId, new_command_id

SECRET = "a secret of tests that is long enough for HS256"
WORKSPACE = "w"
DEADLINE_S = 30.0

Frame = dict[str, Any]


def token(
    user: str, *, ttl_s: float = 600, workspace: str = WORKSPACE, scope: str = "", **claims: object
) -> str:
    """A token as an identity provider makes them: valid for `ttl_s`, or up to a second more."""
    now_s = time.time()
    expires_s = math.ceil(now_s + ttl_s)
    payload = {"sub": user, "ws": workspace, "iat": now_s, "exp": expires_s, "scope": scope, **claims}
    return jwt.encode(payload, SECRET, algorithm="HS256")


def new_id() -> CommandId:
    """An id of now."""
    return new_command_id(time.time_ns() // 1_000_000)


class Peer:
    """One connection. Frames that nobody waited for yet are kept in `frames`, in order."""

    def __init__(self, socket: ClientConnection) -> None:
        self.frames: list[Frame] = []
        self.welcome: Frame = {}
        self.answers_pings = False
        self._socket = socket
        self._news = asyncio.Condition()
        self._closed = False
        self._reading = asyncio.create_task(self._read())

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, url: str, **options: Any) -> AsyncIterator[Peer]:
        """An upgraded connection that has said nothing yet."""
        address = url.replace("http://", "ws://") + "/v1/ws"
        async with websockets.connect(address, max_size=2**24, ping_interval=None, **options) as socket:
            peer = cls(socket)
            try:
                yield peer
            finally:
                peer._reading.cancel()

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, url: str, user: str, *, scope: str = "", **hello: object) -> AsyncIterator[Peer]:
        """A session of a user, after `welcome`."""
        async with cls.connect(url) as peer:
            await peer.send({"type": "hello", "token": token(user, scope=scope), **hello})
            peer.welcome = await peer.take("welcome")
            yield peer

    async def send(self, frame: Frame | str | bytes) -> None:
        """Send a frame: a dict as JSON, anything else as it is."""
        await self._socket.send(json.dumps(frame) if isinstance(frame, dict) else frame)

    async def take(self, kind: str, /, **fields: object) -> Frame:
        """The first frame of this type with these fields; it is removed, others stay."""
        return await self._first(
            lambda frame: frame["type"] == kind and all(frame.get(k) == v for k, v in fields.items()),
            f"{kind} {fields}",
        )

    async def ask(self, kind: str, /, **fields: object) -> Frame:
        """Give a command; the `ack` or `error` that answers it."""
        frame = {"type": kind, "id": new_id(), **fields}
        await self.send(frame)
        return await self.answer(str(frame["id"]))

    async def do(self, kind: str, /, **fields: object) -> Frame:
        """Give a command that must succeed; its `ack`."""
        answer = await self.ask(kind, **fields)
        assert answer["type"] == "ack", answer
        return answer

    async def answer(self, command: str, *, within_s: float = DEADLINE_S) -> Frame:
        """The answer to a command."""
        return await self._first(
            lambda frame: frame["type"] in {"ack", "error"} and frame.get("id") == command,
            f"answer {command}",
            within_s,
        )

    async def event(self, channel: str, seq: int) -> Frame:
        """The event with this number; every event of the channel up to it must have come in order."""
        return await self.take("event", channel=channel, seq=seq)

    async def quiet(self) -> list[Frame]:
        """Everything that is left once the server has answered a question of ours."""
        mark = new_id()
        await self.send({"type": "ping", "id": mark})
        await self.take("ping", id=mark)
        return self.frames

    async def closed(self) -> int:
        """The close code, once the server has closed."""
        async with asyncio.timeout(DEADLINE_S):
            await self._socket.wait_closed()
        assert self._socket.close_code is not None
        return self._socket.close_code

    async def _first(self, wanted: Any, what: str, within_s: float = DEADLINE_S) -> Frame:
        try:
            async with asyncio.timeout(within_s), self._news:
                while True:
                    for index, frame in enumerate(self.frames):
                        if wanted(frame):
                            return self.frames.pop(index)
                    assert not self._closed, (
                        f"closed ({self._socket.close_code}) without {what}: {self.frames}"
                    )
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"no {what} among {self.frames}") from None

    async def _read(self) -> None:
        try:
            async for text in self._socket:
                found = json.loads(text)
                if self.answers_pings and isinstance(found, dict) and found["type"] == "ping":
                    await self.send({"type": "pong"})
                async with self._news:
                    self.frames += found if isinstance(found, list) else [found]
                    self._news.notify_all()
        except ConnectionClosed:
            pass
        async with self._news:
            self._closed = True
            self._news.notify_all()


async def all_replayed(url: str, user: str, channel: str, epoch: str) -> list[Frame]:
    """A channel's events as somebody gets them who comes back and has none of them.

    The cursor goes with the hello: the directory may not list the channel yet, and what it then tells of a
    join has its events come on their own.
    """
    async with Peer.opened(url, user, cursors={channel: {"epoch": epoch, "seq": 0}}) as back:
        await back.take("resumed", channel=channel, complete=True)
        return [frame for frame in back.frames if frame["type"] == "event"]
