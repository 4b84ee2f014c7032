"""The storm's clients against another server: they come back as an SDK does, and see what is amiss."""

from __future__ import annotations

import asyncio
import http
import time

import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tests.bench.storm_crowd import StormCrowd

DEADLINE_S = 30.0


class _Server:
    """Refuses the first upgrade, cuts the first session off, and answers the second one's cursors."""

    def __init__(self, replayed: list[int]) -> None:
        self.upgrades = 0
        self.hellos: list[dict[str, object]] = []
        self.cut = asyncio.Event()
        self._replayed = replayed

    def gate(self, connection: ServerConnection, _: Request) -> Response | None:
        """Busy at first."""
        self.upgrades += 1
        if self.upgrades > 1:
            return None
        response = connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "busy")
        response.headers["Retry-After"] = "0"
        return response

    async def converse(self, connection: ServerConnection) -> None:
        """Two events, then the end; then what was missed."""
        self.hellos.append(orjson.loads(await connection.recv()))
        await connection.send('{"type":"welcome","channels":[{"id":"c","epoch":"e","head":0}]}')
        if len(self.hellos) == 1:
            await connection.send(f"[{_event(1)},{_event(2)}]")
            await self.cut.wait()
            connection.transport.abort()
            return
        for seq in self._replayed:
            await connection.send(_event(seq))
        answer = {"type": "resumed", "channel": "c", "from": 2, "to": 4, "complete": True, "count": 2}
        await connection.send(orjson.dumps(answer).decode())
        await connection.wait_closed()


def _event(seq: int) -> str:
    return f'{{"type":"event","channel":"c","seq":{seq},"kind":"message.posted","text":"t"}}'


async def _stormed(server: _Server) -> StormCrowd:
    """One client through all of that, until it is resumed."""
    crowd = StormCrowd()

    def turn_until(losses: int, seq: int) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        (client,) = crowd.clients
        while not (client.ready_s and client.losses == losses and client.last["c"] >= seq):
            assert time.monotonic() < deadline_s
            crowd.turn()

    async with serve(server.converse, "127.0.0.1", 0, process_request=server.gate) as running:
        url = f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}"
        crowd.obey({"open": [["token", 1]], "url": url, "per_s": 100})
        await asyncio.to_thread(turn_until, 0, 2)
        server.cut.set()
        await asyncio.to_thread(turn_until, 1, 4)
        assert crowd.clients[0].socket is not None
        crowd.clients[0].socket.close()
    return crowd


async def test_it_comes_back_with_its_cursors() -> None:
    """A refusal and a loss are waited out; the second hello names what was read, and the answer counts."""
    server = _Server([3, 4])
    (client,) = (await _stormed(server)).clients
    assert (client.refused, client.losses, client.replayed, client.breaches) == (1, 1, 2, [])
    assert [hello["cursors"] for hello in server.hellos] == [{}, {"c": {"epoch": "e", "seq": 2}}]


async def test_it_sees_a_hole() -> None:
    """An event whose number does not follow is a breach, whatever `resumed` says."""
    (client,) = (await _stormed(_Server([4]))).clients
    assert client.breaches == ["c: 4 after 2"]
