"""The door: what a request for an upgrade is answered, and what a head that does not end comes to."""

from __future__ import annotations

import asyncio
import json

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode

from edge.core import handshake
from edge.core.handshake import HEAD_BYTES_MAX
from edge.door import Door, HttpDoor
from edge.websocket import EdgeProtocol
from shared.errors import ParleyError, Unavailable
from tests.support.peer import token
from tests.support.stack import Stack

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
DEADLINE_S = 30.0
HEADERS = {
    "Host": "chat.example",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


def request(path: str = "/v1/ws", method: str = "GET", **changed: str | None) -> bytes:
    """A request for an upgrade; headers by name with `_` for `-`, None leaves one out."""
    headers = HEADERS | {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode()


async def answered(url: str, *parts: bytes) -> tuple[bytes, bytes]:
    """Head and body of what comes back until the edge hangs up."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(DEADLINE_S):
            for part in parts:
                writer.write(part)
                await writer.drain()
            whole = await reader.read()
    finally:
        writer.transport.abort()
    head, _, body = whole.partition(b"\r\n\r\n")
    return head, body


async def talk_on(writer: asyncio.StreamWriter) -> None:
    """Send until the other side resets the connection."""
    while True:
        writer.write(b"y" * HEAD_BYTES_MAX)
        await writer.drain()


@pytest.mark.parametrize(
    ("bad", "status", "code"),
    [
        (request(Sec_WebSocket_Key=None), 400, "bad_request"),
        (request(Sec_WebSocket_Version="8"), 426, "upgrade_required"),
        (request(Host=None), 400, "bad_request"),
        (request(method="POST"), 400, "bad_request"),
        (request(path="/v1/other"), 404, "not_found"),
        (request(Origin="https://evil.example"), 403, "forbidden"),
        (request(X="y" * HEAD_BYTES_MAX), 431, "head_too_large"),
        (b"GET /v1/ws HTTP/1.1\r\nX: " + b"y" * (2 * HEAD_BYTES_MAX), 431, "head_too_large"),
        (b"\x16\x03\x01 this is no HTTP", 400, "bad_request"),
    ],
    ids=["key", "version", "host", "method", "path", "origin", "large", "endless", "no http"],
)
async def test_refusals(stack: Stack, bad: bytes, status: int, code: str) -> None:
    """Each is answered with its status and a problem document, and the edge hangs up (P4, P23)."""
    head, body = await answered(stack.url, bad)
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(body)["code"] == code
    assert (b"sec-websocket-version: 13" in head.lower()) is (status == 426)


async def test_who_goes_on_sending_hears_the_refusal(quick: str) -> None:
    """The answer is not overtaken by a reset; who does not stop in time is cut off all the same."""
    host, port = quick.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    async with asyncio.timeout(DEADLINE_S):
        writer.write(b"GET /v1/ws HTTP/1.1\r\nX: ")
        for _ in range(64):
            writer.write(b"y" * HEAD_BYTES_MAX)
            await writer.drain()
        assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
        with pytest.raises(ConnectionError):
            await talk_on(writer)


async def test_no_upgrade_at_all(stack: Stack) -> None:
    """A browser that is led here by hand hears what this address is for."""
    head, body = await answered(
        stack.url, b"GET /v1/ws HTTP/1.1\r\nHost: chat.example\r\nConnection: close\r\n\r\n"
    )
    assert head.startswith(b"HTTP/1.1 426 ")
    assert json.loads(body)["code"] == "upgrade_required"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_half_an_upgrade(stack: Stack, version: str) -> None:
    """Who names a WebSocket without asking for an upgrade has asked for a page."""
    asked = request(Connection="close").replace(b"HTTP/1.1", f"HTTP/{version}".encode())
    head, body = await answered(stack.url, asked)
    assert head.startswith(b"HTTP/1.1 426 ")
    assert json.loads(body)["code"] == "upgrade_required"


async def test_an_old_client_asks_for_an_upgrade(stack: Stack) -> None:
    """HTTP/1.0 knows none, whatever its headers say."""
    head, body = await answered(stack.url, request().replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["code"] == "bad_request"


async def test_a_head_that_does_not_end(quick: str) -> None:
    """Who sends a head byte by byte for ever is answered 408; who says nothing is cut off."""
    head, _ = await answered(quick, b"GET /v1/ws HTTP/1.1\r\nHost: ch", b"at.example\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert await answered(quick) == (b"", b"")


async def test_frames_right_behind_the_request(stack: Stack) -> None:
    """What was sent before the answer could be read is not lost, however it was cut."""
    hello = json.dumps({"type": "hello", "token": token("hasty")}).encode()
    frames = Frame(Opcode.TEXT, hello).serialize(mask=True) + Frame(Opcode.CLOSE, b"").serialize(mask=True)
    whole = request() + frames
    for cut in (len(whole), len(whole) - 40, 30):
        head, _ = await answered(stack.url, whole[:cut], whole[cut:])
        assert head.startswith(b"HTTP/1.1 101 ")
    probe = Frame(Opcode.PING, b"here").serialize(mask=True)
    _, body = await answered(stack.url, request() + probe + Frame(Opcode.CLOSE, b"").serialize(mask=True))
    assert body.startswith(Frame(Opcode.PONG, b"here").serialize(mask=False))


async def test_an_upgrade_after_another_request(stack: Stack) -> None:
    """A connection that was used for HTTP before may become a WebSocket."""
    host, port = stack.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    async with asyncio.timeout(DEADLINE_S):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: chat.example\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(length.split(b":")[1]))
        writer.write(request())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    writer.transport.abort()


class Full:
    """An edge without room, which notes what it was asked."""

    frame_bytes_max = 1024

    def __init__(self) -> None:
        self.doors: dict[Door | HttpDoor, float] = {}
        self.asked: list[handshake.Upgrade] = []

    def admit(self, upgrade: handshake.Upgrade) -> None:
        self.asked.append(upgrade)
        raise Unavailable("full")

    def refused(self, error: ParleyError) -> None:
        pass

    def serve(self, _wire: EdgeProtocol, _upgrade: handshake.Upgrade) -> None:
        raise AssertionError("it is full")


class Gone(asyncio.Transport):
    """Whoever asked has left."""

    def is_closing(self) -> bool:
        return True


def asked_through_uvicorn(request: bytes) -> list[handshake.Upgrade]:
    """What uvicorn's parser makes of a request."""

    async def read() -> list[handshake.Upgrade]:
        async def page(_scope: object, _receive: object, _send: object) -> None:
            pass

        host, config = Full(), uvicorn.Config(page, ws="none", log_config=None)
        door = Door(host, config, ServerState(), {})
        door.connection_made(Gone())
        HttpDoor(door).data_received(request)
        return host.asked

    return asyncio.run(read())


NAMES = ["host", "Upgrade", "connection", "Sec-WebSocket-Version", "sec-websocket-key", "Origin", "expect"]
NAMES += ["Authorization", "Content-Length", "transfer-encoding", "x y", "x:", "", "é"]
VALUES = ["chat.example", "websocket", "WebSocket, h2c", "Upgrade", "keep-alive, upgrade", "upgrade;", "13"]
VALUES += [
    KEY,
    "https://chat.example",
    "Bearer a.b.c",
    "0",
    "00",
    "chunked",
    "100-continue",
    " x ",
    "a\tb",
    "é",
]
LINES = st.tuples(st.sampled_from(NAMES), st.sampled_from([": ", ":", ":  ", " : "]), st.sampled_from(VALUES))
ENDS = st.sampled_from(["\r\n"] * 9 + ["\n", "\r", "\r\n "])


@given(
    changes=st.lists(st.tuples(st.integers(0, len(HEADERS) - 1), LINES), max_size=1),
    more=st.lists(LINES, max_size=3),
    first=st.sampled_from(["GET /v1/ws HTTP/1.1"] * 5 + ["GET /v1/ws HTTP/1.10", "GET  /v1/ws HTTP/1.1"]),
    ends=st.lists(ENDS, min_size=9, max_size=9),
    behind=st.binary(max_size=8),
)
def test_what_is_plain_is_read_as_uvicorn_reads_it(
    changes: list[tuple[int, tuple[str, str, str]]],
    more: list[tuple[str, str, str]],
    first: str,
    ends: list[str],
    behind: bytes,
) -> None:
    """Who is let in without a parser would have been let in with one, as the same."""
    lines = [(name, ": ", value) for name, value in HEADERS.items()]
    for place, line in changes:
        lines[place] = line
    whole = [first, *("".join(line) for line in (*lines, *more))]
    head = "".join(line + end for line, end in zip(whole, ends, strict=False)) + "\r\n"
    found = handshake.plain(head.encode() + behind)
    if found is not None:
        assert found[1] == behind
        assert asked_through_uvicorn(head.encode() + behind) == [found[0]]


def test_how_clients_ask_is_plain() -> None:
    """Browsers and libraries are let in without a parser, with all that they send along."""
    more = {
        "Origin": "https://chat.example",
        "Authorization": "Bearer a.b",
        "User-Agent": "Mozilla/5.0 (X; Y)",
    }
    more |= {
        "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
        "Cache-Control": "no-cache",
    }
    found = handshake.plain(request(**more) + b"rest")
    assert found is not None
    assert found[0].authorization == "Bearer a.b"
    assert found[1] == b"rest"
    assert asked_through_uvicorn(request(**more) + b"rest") == [found[0]]


def test_uvicorn_is_what_this_was_written_for() -> None:
    """Every name of uvicorn's that is used beyond its interface is there."""
    names = "connection_made connection_lost data_received on_message_begin on_headers_complete"
    for name in f"{names} _should_upgrade _get_upgrade _unset_keepalive_if_required".split():
        assert name in vars(HttpToolsProtocol), name
    config = uvicorn.Config("nothing:here", http=HttpToolsProtocol, ws="none", log_config=None)
    assert config.http is HttpToolsProtocol
