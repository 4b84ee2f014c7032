"""Asking a process over HTTP whether it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import NamedTuple
from urllib.parse import urlsplit

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})")
_ANSWER_BYTES_MAX = 64 * 1024


class Readiness(NamedTuple):
    """`ready`, and otherwise why not, as far as the process says."""

    ready: bool
    detail: str


async def readiness(url: str, path: str, *, timeout_s: float = 1.0) -> Readiness:
    """One GET; not answering is an answer too."""
    try:
        async with asyncio.timeout(timeout_s):
            status, body = await _get(url, path)
    except (OSError, TimeoutError, ValueError) as error:
        return Readiness(False, f"does not answer ({type(error).__name__})")
    return Readiness(status == 200, "" if status == 200 else _reason(status, body))


async def _get(url: str, path: str) -> tuple[int, bytes]:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while len(answer) < _ANSWER_BYTES_MAX and (chunk := await reader.read(_ANSWER_BYTES_MAX)):
            answer += chunk
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    found = _STATUS_LINE.match(head)
    if found is None:
        raise ValueError("not an HTTP answer")
    return int(found[1]), body


def _reason(status: int, body: bytes) -> str:
    with contextlib.suppress(ValueError):
        said = json.loads(body)
        if isinstance(said, dict) and (reasons := said.get("reasons") or said.get("error")):
            return (
                "; ".join(f"{component}: {why}" for component, why in reasons.items())
                if isinstance(reasons, dict)
                else str(reasons)
            )
    return f"HTTP {status}"
