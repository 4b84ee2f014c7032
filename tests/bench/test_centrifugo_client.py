"""The load client in Centrifugo's protocol, against a server that says what Centrifugo says."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.bench.chunks import stamped
from tests.bench.crowd import crowd
from tests.bench.frames import FrameScanner
from tests.bench.load_client import Refused
from tests.bench.peers.centrifugo_client import is_push, open_subscriber, read_chunk, read_pushes

DEADLINE_S = 60.0
TEXT = "x" * 60
INFO = '"info":{"user":"","client":"71000bcd"}'


def _push(offset: int, text: str, channel: str = "c", *, more: str = "") -> str:
    data = f'{{"type":"event","channel":"c","seq":7,"text":"{text}"}}'
    return f'{{"push":{{"channel":"{channel}","pub":{{"data":{data},{INFO},"offset":{offset}{more}}}}}}}'


def _frame(payload: bytes) -> bytes:
    return bytes((0x81, 126)) + len(payload).to_bytes(2, "big") + payload


async def _converse(connection: ServerConnection) -> None:
    """Pings who subscribes, sends 1 when that is answered; sends what is published as 3, with the reply."""
    async for text in connection:
        match orjson.loads(text):
            case {"id": number, "connect": _}:
                await connection.send(f'{{"id":{number},"connect":{{}}}}')
            case {"id": number, "subscribe": {"channel": "closed"}}:
                await connection.send(
                    f'{{"id":{number},"error":{{"code":103,"message":"permission denied"}}}}'
                )
            case {"id": number, "subscribe": _}:
                await connection.send(f'{{"id":{number},"subscribe":{{}}}}')
                await connection.send("{}")
            case {"id": number, "publish": {"data": {"text": said}}}:
                await connection.send(f'{{"id":{number},"publish":{{}}}}\n{_push(3, said)}\n')
            case _:
                await connection.send(_push(1, TEXT))


@asynccontextmanager
async def _server() -> AsyncIterator[str]:
    async with serve(_converse, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_publications_are_read_as_events_are() -> None:
    """Channel, offset and stamp of each in a frame, whatever stands before and after."""
    payload = "\n".join([_push(1, stamped(5, TEXT), more=',"epoch":"onvV"'), _push(12, TEXT, "d")]).encode()
    assert is_push(payload)
    assert read_pushes(payload) == ((b"c", 1, 5), (b"d", 12, 0))
    assert read_chunk(_frame(payload) + _frame(payload)) == read_pushes(payload) * 2


def test_a_frame_with_a_reply_is_no_publication() -> None:
    """On either side of one."""
    push = _push(1, TEXT).encode()
    for payload in (b'{"id":3,"publish":{}}\n' + push, push + b'\n{"id":3,"publish":{}}'):
        assert not is_push(payload)
        assert read_chunk(_frame(payload)) is None
        assert FrameScanner().feed(_frame(payload)) == [(1, payload)]


def test_a_publication_without_an_offset_is_no_proof() -> None:
    """History is off: nothing would be found missing."""
    with pytest.raises(ValueError, match="offset"):
        read_pushes(_push(1, TEXT).replace('"offset"', '"tags"').encode())


async def test_it_counts_publications_holes_latency_and_acks() -> None:
    """The hole between 1 and 3; ack and delivery in one frame, both timed from when the message was due."""
    async with _server() as url:
        client = await open_subscriber(url, ["c"])
        await client.until(lambda: client.events == 1, within_s=DEADLINE_S)
        ten_ms_ago = time.monotonic_ns() - 10_000_000
        client.send_message("c", stamped(ten_ms_ago, TEXT), ten_ms_ago)
        await client.until(lambda: client.acks == 1, within_s=DEADLINE_S)
        assert (client.events, client.gaps, client.errors) == (2, 1, 0)
        assert (len(client.ack_ns), len(client.delivery_ns)) == (1, 1)
        assert min(*client.ack_ns, *client.delivery_ns) >= 10_000_000
        client.close()


async def test_a_refused_subscription_is_told() -> None:
    """With Centrifugo's code and words."""
    async with _server() as url:
        with pytest.raises(Refused, match="103: permission denied"):
            await open_subscriber(url, ["closed"])


async def test_a_crowd_hears_centrifugo() -> None:
    """Subscribed by the crowd's process, which tells when all was there."""
    async with _server() as url, crowd() as listeners:
        began_ns = time.monotonic_ns()
        await listeners.open(url, [("", ["c"])], server="centrifugo")
        received = await listeners.report(1, within_s=DEADLINE_S)
        assert (received.events, received.gaps, received.closed) == (1, 0, 0)
        assert began_ns < received.until_ns < time.monotonic_ns()
