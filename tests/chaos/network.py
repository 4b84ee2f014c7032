"""The proxies of one run: who reaches whom through which, and the process that they live in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Iterable

from infra.local.lifeline import die_with_parent
from tests.bench.report import ROOT

HOST = "127.0.0.1"
ANSWER_S = 30.0

CLIENTS = "clients"


class Network:
    """Paths `SOURCE>TARGET`, each through a proxy of its own. Use `opened`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()
        self.paths: list[str] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls) -> AsyncIterator[Network]:
        """A network without paths."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.chaos.proxy"),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=die_with_parent(),
        )
        try:
            yield cls(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def open(self, source: str, target: str, port: int) -> int:
        """A new path to a port; the port to use in its place."""
        path = f"{source}>{target}"
        answer = await self._tell({"do": "open", "name": path, "target": port})
        self.paths.append(path)
        return int(answer["port"])

    async def do(self, what: str, paths: Iterable[str], **how: object) -> None:
        """Have it done to all of these paths (see `proxy`)."""
        for path in paths:
            await self._tell({"do": what, "name": path, **how})

    async def calm(self) -> None:
        """Good weather everywhere; what is half-open stays so until its ends notice."""
        await self.do("calm", self.paths)

    def of(self, victim: str) -> list[str]:
        """The paths of a victim: `clients>edge-1`, or all that begin at a service (`edge-1`)."""
        return [path for path in self.paths if path == victim or path.startswith(f"{victim}>")]

    async def _tell(self, order: dict[str, object]) -> dict[str, int]:
        writing, reading = self._process.stdin, self._process.stdout
        assert writing is not None
        assert reading is not None
        async with self._turn, asyncio.timeout(ANSWER_S):
            writing.write(json.dumps(order).encode() + b"\n")
            await writing.drain()
            line = await reading.readline()
        assert line, "the proxies are gone"
        answer: dict[str, int] = json.loads(line)
        return answer
