"""The connection comes back as the server advises, stops when it must, and cuts a silent line.

A scripted server plays what a real edge does only in trouble; against the real edge: tests/integration.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus

import orjson
import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from shared.client import Client, Offline, SessionEnded, Update
from shared.client.updates import ChannelEvent
from shared.errors import TooLarge
from shared.ids import ChannelId
from tests.support.waiting import eventually

Script = Callable[[ServerConnection, dict[str, object]], Awaitable[None]]


class Scripted:
    """A server whose nth connection follows the nth script (the last one from then on)."""

    def __init__(self, *scripts: Script, refuse_first: int = 0, retry_after: str = "0") -> None:
        self.scripts = scripts
        self.hellos: list[dict[str, object]] = []
        self.received: list[dict[str, object]] = []
        self.refusals = refuse_first
        self.retry_after = retry_after
        self.url = ""
        self._server: Server | None = None

    async def __aenter__(self) -> Scripted:
        self._server = await serve(self._talk, "127.0.0.1", 0, process_request=self._admit)
        port = next(iter(self._server.sockets)).getsockname()[1]
        self.url = f"ws://127.0.0.1:{port}/v1/ws"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def _admit(self, connection: ServerConnection, _: Request) -> Response | None:
        if self.refusals <= 0:
            return None
        self.refusals -= 1
        response = connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "full\n")
        response.headers["Retry-After"] = self.retry_after
        return response

    async def _talk(self, socket: ServerConnection) -> None:
        hello = orjson.loads(await socket.recv())
        script = self.scripts[min(len(self.hellos), len(self.scripts) - 1)]
        self.hellos.append(hello)
        await script(socket, hello)

    async def read(self, socket: ServerConnection) -> None:
        """Note what the client sends until it goes."""
        async for raw in socket:
            self.received.append(orjson.loads(raw))


def welcome(heartbeat_s: float = 20.0) -> bytes:
    return orjson.dumps(
        {
            "type": "welcome",
            "session": "s",
            "node": "n",
            "user": "u",
            "workspace": "w",
            "server_time": "2026-11-25T04:00:00.000Z",
            "expires_at": None,
            "heartbeat_s": heartbeat_s,
            "limits": {"frame_bytes": 500, "commands_in_flight": 8},
            "channels": [{"id": "c", "epoch": "e", "head": 0}],
            "more": False,
        }
    )


def event(seq: int) -> dict[str, object]:
    return {"type": "event", "channel": "c", "seq": seq, "kind": "message.posted", "author": "u", "text": "t"}


def closing(code: int, bye: dict[str, object] | None = None) -> Script:
    async def script(socket: ServerConnection, _: dict[str, object]) -> None:
        await socket.send(welcome().decode())
        if bye is not None:
            await socket.send(orjson.dumps({"type": "bye", "code": code, "reason": "r"} | bye).decode())
        await socket.close(code, "r")

    return script


async def staying(socket: ServerConnection, _: dict[str, object]) -> None:
    await socket.send(welcome().decode())
    with contextlib.suppress(Exception):
        await socket.wait_closed()


@contextlib.asynccontextmanager
async def client_of(server: Scripted, **options: object) -> AsyncIterator[tuple[Client, list[Update]]]:
    updates: list[Update] = []
    async with asyncio.timeout(30):
        client = Client(server.url, "t", on_update=updates.append, **options)  # type: ignore[arg-type]
        async with client:
            yield client, updates


async def test_comes_back_after_a_resumable_close() -> None:
    """4000 with advice: the client waits at least that long, then is back with its cursor (P10)."""
    bye: dict[str, object] = {"resumable": True, "retry_after_ms": 300}
    async with Scripted(closing(4000, bye), staying) as server, client_of(server) as (_, updates):
        started = time.monotonic()
        await eventually(lambda: len(server.hellos) == 2)
        assert time.monotonic() - started >= 0.25
        offline = next(update for update in updates if isinstance(update, Offline))
        assert offline.code == 4000
        assert offline.retry_in_s >= 0.3
        assert server.hellos[1]["cursors"] == {"c": {"epoch": "e", "seq": 0}}


async def test_closed_client_says_so() -> None:
    """Who closes their client ends the session with 1000, not as if something had failed."""
    codes: list[int | None] = []

    async def noting(socket: ServerConnection, hello: dict[str, object]) -> None:
        await staying(socket, hello)
        codes.append(socket.close_code)

    async with Scripted(noting) as server:
        async with client_of(server) as (client, _):
            await eventually(lambda: client.connected)
        await eventually(lambda: codes == [1000])


@pytest.mark.parametrize("code", [4500, 4503, 1009])
async def test_final_code_ends_the_client(code: int) -> None:
    """A final code is not answered with another try; callers hear it (AT-61)."""
    async with Scripted(closing(code), staying) as server:
        async with client_of(server) as (client, _):
            with pytest.raises(SessionEnded) as caught:
                await client.send("c", "hi")
            assert caught.value.close_code == code
        assert len(server.hellos) == 1


async def test_new_token_is_asked_for_once() -> None:
    """Expired: the callback gives another token, which the next hello carries (AT-61)."""
    asked: list[int] = []

    async def renew() -> str:
        asked.append(1)
        return "t2"

    async with (
        Scripted(closing(4501), staying) as server,
        client_of(server, renew_token=renew),
    ):
        await eventually(lambda: len(server.hellos) == 2)
        assert server.hellos[1]["token"] == "t2"
        assert asked == [1]


async def test_admission_refusal_is_waited_out() -> None:
    """503 before the upgrade with Retry-After: try again, then be let in (AT-64)."""
    async with Scripted(staying, refuse_first=2) as server, client_of(server) as (client, updates):
        assert client.connected
        assert [u.code for u in updates if isinstance(u, Offline)] == [503, 503]


async def test_a_client_leaves_an_edge_that_sends_it_away() -> None:
    """Of three edges one drains and one is dead: the client ends at the third, and asks none twice before."""
    drains = closing(4000, {"resumable": True, "retry_after_ms": 0})
    async with Scripted(staying) as dead:
        pass
    async with Scripted(drains) as leaving, Scripted(staying) as good, asyncio.timeout(60):
        for number in range(1, 7):
            async with Client([leaving.url, dead.url, good.url], "t", on_update=lambda _: None):
                await eventually(lambda number=number: len(good.hellos) == number, within_s=30)  # type: ignore[misc]
            assert len(leaving.hellos) <= number


async def test_silent_line_is_cut() -> None:
    """1.5 heartbeats without a byte: the client cuts the line and comes back (P8, AT-59)."""

    async def silent(socket: ServerConnection, _: dict[str, object]) -> None:
        await socket.send(welcome(heartbeat_s=0.2).decode())
        await socket.wait_closed()

    async with Scripted(silent, staying) as server, client_of(server):
        await eventually(lambda: len(server.hellos) == 2)


async def test_events_are_given_out_in_batches_and_singly() -> None:
    """`events()` gives each event once, from single frames and from arrays."""

    async def talking(socket: ServerConnection, _: dict[str, object]) -> None:
        await socket.send(welcome().decode())
        cursors = orjson.loads(await socket.recv())["cursors"]
        for seq in range(cursors["c"]["seq"] + 1, 4):
            await socket.send(orjson.dumps(event(seq)).decode())
        await socket.send(orjson.dumps([event(4), event(5)]).decode())
        await socket.wait_closed()

    async with (
        Scripted(talking) as server,
        asyncio.timeout(30),
        Client(server.url, "t", start="head") as client,
    ):
        client.follow_from("c", 0)
        got: list[int] = []
        async for update in client.events():
            if isinstance(update, ChannelEvent):
                got.append(update.seq)
            if len(got) == 5:
                break
        assert got == [1, 2, 3, 4, 5]


async def test_unread_events_cost_no_memory_and_are_not_lost() -> None:
    """Nobody reads: events are let go, and asked for from the cursor when somebody does (AT-66)."""
    resumes: list[object] = []

    async def flooding(socket: ServerConnection, _: dict[str, object]) -> None:
        await socket.send(welcome().decode())
        for seq in range(1, 50):
            await socket.send(orjson.dumps(event(seq)).decode())
        async for raw in socket:
            frame = orjson.loads(raw)
            if frame["type"] == "resume":
                resumes.append(frame["cursors"]["c"]["seq"])
                for seq in range(frame["cursors"]["c"]["seq"] + 1, 50):
                    await socket.send(orjson.dumps(event(seq)).decode())
                answer = {
                    "type": "resumed",
                    "channel": "c",
                    "from": 0,
                    "to": 49,
                    "complete": True,
                    "count": 49,
                }
                await socket.send(orjson.dumps(answer).decode())

    async with (
        Scripted(flooding) as server,
        asyncio.timeout(30),
        Client(server.url, "t", updates_max=10) as client,
    ):
        assert client.cursors[ChannelId("c")].seq == 0
        got = []
        async for update in client.events():
            if isinstance(update, ChannelEvent):
                got.append(update.seq)
            if len(got) == 49:
                break
        assert got == list(range(1, 50))
        assert resumes[0] == 0


async def test_too_large_a_command_is_refused_before_it_is_sent() -> None:
    """A frame above the server's limit would end the session for ever: it is not even taken."""
    async with Scripted(staying) as server, client_of(server) as (client, _):
        with pytest.raises(TooLarge):
            await client.send("c", "x" * 1000)


async def test_garbage_is_answered_with_a_new_connection() -> None:
    """Bytes that are no frame end the connection, not the client."""

    async def garbage(socket: ServerConnection, _: dict[str, object]) -> None:
        await socket.send(welcome().decode())
        await socket.send("nonsense")
        await socket.wait_closed()

    async with Scripted(garbage, staying) as server, client_of(server):
        await eventually(lambda: len(server.hellos) == 2)
