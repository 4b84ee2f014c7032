"""The door: what a request for an upgrade is answered, and what a head that does not end comes to."""

from __future__ import annotations

import asyncio
import json

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from websockets.frames import Frame, Opcode

from edge.core.handshake import HEAD_BYTES_MAX
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


def test_uvicorn_is_what_this_was_written_for() -> None:
    """Every name of uvicorn's that is used beyond its interface is there."""
    names = "connection_made connection_lost data_received on_message_begin on_headers_complete"
    for name in f"{names} _should_upgrade _get_upgrade _unset_keepalive_if_required".split():
        assert name in vars(HttpToolsProtocol), name
    config = uvicorn.Config("nothing:here", http=HttpToolsProtocol, ws="none", log_config=None)
    assert config.http is HttpToolsProtocol
