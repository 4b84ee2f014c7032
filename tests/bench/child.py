"""A load in a process of its own, so that receiving costs the sender no time.

The process takes a JSON object a line and answers each with one; the end of the input is its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator

import orjson

from infra.local.lifeline import die_with_parent
from tests.bench.report import ROOT

_LINE_BYTES_MAX = 16 * 1024 * 1024


class Child:
    """The parent's end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process, whose CPU belongs to the load and not to the system."""
        return self._process.pid

    async def ask(self, question: dict[str, object], within_s: float) -> dict[str, object]:
        """One question, one answer. Raises TimeoutError, or RuntimeError if the process has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(orjson.dumps(question) + b"\n")
        await self._process.stdin.drain()
        async with asyncio.timeout(within_s):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load has ended; see its traceback above")
        answer: dict[str, object] = orjson.loads(line)
        return answer


@contextlib.asynccontextmanager
async def child(module: str) -> AsyncIterator[Child]:
    """`python -m module`; its process ends with the context."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=_LINE_BYTES_MAX,
        preexec_fn=die_with_parent(),
    )
    try:
        yield Child(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
