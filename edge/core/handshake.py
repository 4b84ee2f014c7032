"""The upgrade to a WebSocket as the server sees it: what a request has to say, and what it is answered.

RFC 6455, 4.2. The bytes of the request are read by uvicorn's HTTP parser, here is what they have to mean;
`door.py` acts on it. Extensions and subprotocols are not taken up, so the answer never names one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from shared.errors import BadRequest, HeadTooLarge, NotFound, ParleyError, UpgradeRequired

PATH = b"/v1/ws"
VERSION = b"13"
HEAD_BYTES_MAX = 16 * 1024
"""Request line and headers; a token in a header is well below that."""

_PLAIN_LINE = b"GET " + PATH + b" HTTP/1.1\r\n"
_PLAIN_HEADER = re.compile(rb"\r\n([A-Za-z0-9-]+): ([!-~](?:[ -~]*[!-~])?)(?=\r\n)")
"""No space but the one behind the colon, nothing but ASCII: all readers of HTTP read it alike."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES = 16
_ALONE = frozenset(
    {
        *(b"host", b"origin", b"authorization", b"upgrade"),
        *(b"sec-websocket-key", b"sec-websocket-version"),
    }
)
"""Two different ones of these would leave it to chance which of them counts."""

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case."""


class Upgrade(NamedTuple):
    """What is asked for by a request that keeps the rules."""

    key: bytes
    host: str
    origin: str | None
    authorization: str | None


def plain(data: bytes) -> tuple[Upgrade, bytes] | None:
    """The upgrade that a request asks for that came whole and is written plainly, and what stands behind it.

    None: it needs a real parser, or is refused.
    """
    end = data.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX)
    if end < 0 or not data.startswith(_PLAIN_LINE):
        return None
    lines = data[len(_PLAIN_LINE) - 2 : end + 2]
    headers = {name.lower(): value for name, value in _PLAIN_HEADER.findall(lines)}
    if len(headers) != lines.count(b"\n") - 1:  # one is written otherwise, or stands there twice
        return None
    try:
        return _judged(headers), data[end + 4 :]
    except ParleyError:
        return None


def judge(method: bytes, target: bytes, version: str, headers: Headers) -> Upgrade:
    """The upgrade that a request asks for.

    Raises `NotFound`, `BadRequest`, `HeadTooLarge`, or `UpgradeRequired` for another version of WebSocket.
    """
    if len(target) + sum(len(name) + len(value) for name, value in headers) > HEAD_BYTES_MAX:
        raise too_large()
    if target.partition(b"?")[0] != PATH:
        raise NotFound("there is no WebSocket here")
    if method != b"GET" or version != "1.1":
        raise BadRequest("an upgrade is a GET of HTTP/1.1")
    return _judged(_headers(headers))


def _judged(found: Mapping[bytes, bytes]) -> Upgrade:
    if found.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in found:
        raise BadRequest("an upgrade has no body")
    if b"host" not in found:
        raise BadRequest("the header Host is missing")
    if found.get(b"upgrade", b"").lower() != b"websocket" or not _names(found.get(b"connection"), b"upgrade"):
        raise UpgradeRequired("only WebSocket is spoken here")
    if found.get(b"sec-websocket-version") != VERSION:
        raise UpgradeRequired("only version 13 of WebSocket is spoken here")
    key = found.get(b"sec-websocket-key", b"")
    if not _is_key(key):
        raise BadRequest("Sec-WebSocket-Key must be 16 bytes in base64")
    return Upgrade(
        key=key,
        host=_text(found[b"host"]),
        origin=_text(found[b"origin"]) if b"origin" in found else None,
        authorization=_text(found[b"authorization"]) if b"authorization" in found else None,
    )


def accepted(key: bytes) -> bytes:
    """The answer that opens the WebSocket."""
    proof = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"
    )


def too_large() -> HeadTooLarge:
    """The refusal of a request whose head does not end."""
    return HeadTooLarge(f"request line and headers have more than {HEAD_BYTES_MAX} bytes")


def _headers(headers: Headers) -> dict[bytes, bytes]:
    """By name; what stands in several lines is one list (RFC 9110, 5.3)."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name not in found:
            found[name] = value
        elif name in _ALONE:
            raise BadRequest(f"the header {_text(name)} is there twice")
        else:
            found[name] += b"," + value
    return found


def _names(value: bytes | None, wanted: bytes) -> bool:
    return value is not None and wanted in [token.strip().lower() for token in value.split(b",")]


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def _text(value: bytes) -> str:
    """Headers are bytes of whoever sent them: every one of them reads as something (RFC 9110, 5.5)."""
    return value.decode("latin-1")
