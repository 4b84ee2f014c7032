"""What a peer is told to send: one message a line of its standard input, until that ends."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

BACKLOG = 4096
_LINE_BYTES_MAX = 1024 * 1024


async def lines() -> AsyncIterator[str]:
    """Each line, without its end."""
    reader = asyncio.StreamReader(limit=_LINE_BYTES_MAX)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    while line := await reader.readline():
        yield line[:-1].decode()
