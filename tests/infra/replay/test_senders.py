"""A sender keeps its window full, its lines in order, and counts what became of each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve

from infra.replay.rule import Line, Rule
from infra.replay.senders import Sender, Sent
from shared.client import Client

RULE = Rule("demo", "chat", channels=1, senders=1, receivers=0)
IN_FLIGHT = 8


class Edge:
    """Answers every command in its turn; `refuse` says with which error."""

    def __init__(self, refuse: dict[str, str]) -> None:
        self.refuse = refuse
        self.texts: list[str] = []

    async def talk(self, socket: ServerConnection) -> None:
        await socket.recv()
        limits = {"frame_bytes": 1000, "commands_in_flight": IN_FLIGHT}
        welcome: dict[str, object] = {
            "session": "s",
            "node": "n",
            "user": "u",
            "workspace": "demo",
            "expires_at": None,
        }
        welcome |= {"server_time": "2026-11-25T04:00:00.000Z", "heartbeat_s": 20, "limits": limits}
        await socket.send(orjson.dumps(welcome | {"type": "welcome", "channels": []}), text=True)
        async for raw in socket:
            frame = orjson.loads(raw)
            self.texts.append(frame["text"])
            answer: dict[str, object] = {
                "type": "ack",
                "id": frame["id"],
                "channel": "c",
                "seq": len(self.texts),
                "ts": "",
            }
            answer["duplicate"] = False
            if frame["text"] in self.refuse:
                code = self.refuse[frame["text"]]
                answer = {"type": "error", "id": frame["id"], "code": code, "message": "no"}
            await socket.send(orjson.dumps(answer), text=True)


@contextlib.asynccontextmanager
async def sender_to(edge: Edge, window: int) -> AsyncIterator[tuple[Sender, Sent]]:
    """A sender whose client talks to `edge`."""
    async with asyncio.timeout(30), serve(edge.talk, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        sent = Sent()
        async with Client(f"ws://127.0.0.1:{port}/", "t", window=window) as client:
            yield Sender(client, RULE, sent, window), sent


def line(number: int, text: str | None = None) -> Line:
    return Line(number, "ann", "2026-11-25T04:00:00Z", 1, text or f"line {number}")


@pytest.mark.parametrize("window", [1, 4, 256])
async def test_every_line_is_sent_once_and_in_order(window: int) -> None:
    """More lines than any window: all are answered, in the file's order, whatever the server allows."""
    edge = Edge({})
    async with sender_to(edge, window) as (sender, sent):
        for number in range(1, 701):
            await sender.send("c", line(number))
        await sender.drained()
    assert edge.texts == [f"line {number}" for number in range(1, 701)]
    assert (sent.new, sent.done, sent.heads) == (700, 700, {"c": 700})


async def test_refused_lines_are_counted_by_their_code() -> None:
    """A line that the server refuses, or that is too large to be sent at all, does not stop the others."""
    edge = Edge({"line 2": "forbidden"})
    async with sender_to(edge, 2) as (sender, sent):
        for one in (line(1), line(2), line(3, "x" * 2000), line(4)):
            await sender.send("c", one)
        await sender.drained()
    assert edge.texts == ["line 1", "line 2", "line 4"]
    assert (sent.new, dict(sent.refused)) == (2, {"forbidden": 1, "too_large": 1})


async def test_lines_of_a_client_that_ended_are_refused() -> None:
    """The session is over for good: every line is counted, nobody waits for ever."""
    edge = Edge({})
    async with sender_to(edge, 2) as (sender, sent):
        await sender.send("c", line(1))
        await sender.drained()
        await sender._client.close()
        for number in range(2, 6):
            await sender.send("c", line(number))
        await sender.drained()
    assert (sent.new, dict(sent.refused)) == (1, {"client_closed": 4})
