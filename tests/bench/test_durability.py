"""The load of the durability benchmark: bounded, and in every mode there is."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import get_args

import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from infra.nats.config import Durability
from tests.bench.durability import IN_FLIGHT_OF_SESSION, MODES, keep_busy
from tests.bench.load_client import open_session


def test_every_mode_is_measured() -> None:
    """A mode that can be chosen has figures; only `quorum` needs three servers."""
    assert set(MODES) == set(get_args(Durability))
    assert {mode for mode, servers in MODES.items() if servers == 3} == {"quorum"}


async def test_a_session_has_a_bounded_number_of_unanswered_messages() -> None:
    """A server that answers only when nothing more comes sees as many as allowed, and never more."""
    bursts: list[int] = []

    async def converse(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send('{"type":"welcome","channels":[]}')
        while commands := await _until_silence(connection):
            bursts.append(len(commands))
            for command in commands:
                await connection.send(orjson.dumps({"type": "ack", "id": command}).decode())

    async with serve(converse, "127.0.0.1", 0) as server:
        session = await open_session(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "token")
        await keep_busy(session, ["a", "b"], time.monotonic() + 0.2)
        session.close()
    assert session.errors == 0
    assert session.acks == sum(bursts)
    assert max(bursts) == IN_FLIGHT_OF_SESSION


async def _until_silence(connection: ServerConnection) -> list[str]:
    """The ids of everything that comes before a pause; none if the client has left."""
    commands: list[str] = []
    with contextlib.suppress(ConnectionClosed):
        commands.append(orjson.loads(await connection.recv())["id"])
        with contextlib.suppress(TimeoutError):
            while True:
                commands.append(orjson.loads(await asyncio.wait_for(connection.recv(), 0.05))["id"])
    return commands
