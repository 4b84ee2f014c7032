"""`python -m tests.bench.lag_proxy PORT LAG_S`: a store that is far away, though it is on this machine.

A TCP proxy in front of a port: whatever a client sends is passed on so much later, what is answered at once.
So each request of a connection that is kept takes that much longer, and those of several connections wait at
the same time. It says its port in a line, and for each line that it gets how many requests there were.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"
READ_BYTES_MAX = 256 * 1024
METHODS = (b"GET ", b"HEAD ", b"PUT ", b"POST ", b"DELETE ")


class Proxy:
    """Of one port."""

    def __init__(self, target: int, lag_s: float) -> None:
        self._target = target
        self._lag_s = lag_s
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until one of its ends closes it."""
        try:
            theirs, ours = await asyncio.open_connection(HOST, self._target, limit=READ_BYTES_MAX)
        except OSError:
            writer.close()
            return
        ways = [asyncio.create_task(self._later(reader, ours)), asyncio.create_task(_at_once(theirs, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        writer.close()
        ours.close()

    async def _later(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(READ_BYTES_MAX):
            self.requests += data.startswith(METHODS)
            loop.call_later(self._lag_s, writer.write, data)


async def _at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(READ_BYTES_MAX):
        writer.write(data)
        await writer.drain()


async def run(target: int, lag_s: float) -> None:
    """Until nobody listens to it any more."""
    proxy = Proxy(target, lag_s)
    server = await asyncio.start_server(proxy.serve, HOST, 0, limit=READ_BYTES_MAX)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(proxy.requests, flush=True)


class Lag:
    """A proxy that runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._line())

    def requests(self) -> int:
        """How many there have been."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def lagging(target: int, lag_s: float) -> Iterator[Lag]:
    """Put one in front of a port."""
    command = [sys.executable, "-m", "tests.bench.lag_proxy", str(target), str(lag_s)]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        yield Lag(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1]), float(sys.argv[2])))
