"""The load client against another library's server: it speaks the protocol, and what it counts is true."""

from __future__ import annotations

import time

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve

from shared import events as e
from shared.ids import ChannelId, ChannelKey, Seq, StreamSeq, UserId, WorkspaceId
from shared.wire_form import wire
from tests.bench.chunks import stamped
from tests.bench.load_client import Refused, fresh_id, open_session
from tests.bench.measure import send_queue_bytes
from tests.support.waiting import eventually

TEXT = "y" * 60


def _event(seq: int, text: str) -> bytes:
    key = ChannelKey(WorkspaceId("w"), ChannelId("c"))
    posted = e.MessagePosted(id=fresh_id(), author=UserId("ann"), text=text)
    return wire(e.Recorded(key, Seq(seq), StreamSeq(seq), 1_790_000_000_000_000, posted))


async def _greet(connection: ServerConnection) -> None:
    hello = orjson.loads(await connection.recv())
    assert hello["type"] == "hello"
    await connection.send('{"type":"welcome","channels":[{"id":"c"}]}')


async def _converse(connection: ServerConnection) -> None:
    """Pings, sends events one by one and as an array with a hole, and acknowledges what it is sent."""
    await _greet(connection)
    await connection.send('{"type":"ping","heads":{}}')
    assert orjson.loads(await connection.recv()) == {"type": "pong"}
    ten_ms_ago = time.monotonic_ns() - 10_000_000
    for seq in (1, 2):
        await connection.send(_event(seq, stamped(ten_ms_ago, TEXT)).decode())
    await connection.send(f"[{_event(3, TEXT).decode()},{_event(5, TEXT).decode()}]")
    async for text in connection:
        sent = orjson.loads(text)
        answer = {"type": "ack", "id": sent["id"], "channel": "c", "seq": 6, "duplicate": False}
        if sent["text"] == "no":
            answer = {"type": "error", "id": sent["id"], "code": "forbidden", "message": "no"}
        await connection.send(orjson.dumps(answer).decode())


async def test_it_counts_events_holes_latency_and_acks() -> None:
    """Events one by one and in arrays, the hole between 3 and 5, the age of each stamp, acks."""
    async with serve(_converse, "127.0.0.1", 0) as server:
        client = await open_session(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "token")
        await client.until_member({"c"})
        await client.until(lambda: client.events == 4)
        assert client.gaps == 1
        assert len(client.delivery_ns) == 2
        assert all(10_000_000 <= late < 5_000_000_000 for late in client.delivery_ns)
        client.send_message("c", TEXT)
        await client.until(lambda: client.acks == 1)
        assert len(client.ack_ns) == 1
        with pytest.raises(Refused, match="forbidden"):
            await client.ask({"type": "send", "channel": "c", "text": "no"})
        client.reset()
        assert (client.events, client.gaps, client.acks, len(client.delivery_ns)) == (0, 0, 0, 0)
        client.close()


async def test_a_stalled_client_reads_on_without_a_hole() -> None:
    """While it is stalled it takes nothing, and what waits for it is seen; then all comes, in order."""
    count = 500

    async def flood(connection: ServerConnection) -> None:
        await _greet(connection)
        await connection.recv()
        for seq in range(1, count + 1):
            await connection.send(_event(seq, "z" * 4000).decode())
        await connection.wait_closed()

    async with serve(flood, "127.0.0.1", 0, ping_interval=None) as server:
        port = server.sockets[0].getsockname()[1]
        client = await open_session(f"http://127.0.0.1:{port}", "token")
        ports = client.stall(16 * 1024)
        client.write(b"{}")
        await eventually(lambda: send_queue_bytes(*ports) > 0)
        assert (ports[0], client.events) == (port, 0)
        client.read_on()
        await client.until(lambda: client.events == count, within_s=60)
        assert client.gaps == 0
        client.close()


async def test_a_refused_upgrade_is_told() -> None:
    """Who is not let in hears the status line, not a time-out."""
    async with serve(_greet, "127.0.0.1", 0, process_request=lambda c, _: c.respond(503, "full")) as server:
        with pytest.raises(Refused, match="503"):
            await open_session(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "token")
