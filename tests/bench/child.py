"""A load in a process of its own, so that receiving costs the sender no time.

The process takes a JSON object a line and answers each with one; the end of the input is its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Protocol

import orjson

from infra.local.lifeline import die_with_parent
from tests.bench.report import ROOT

STDIN = 0
_LINE_BYTES_MAX = 16 * 1024 * 1024
_LINE_PART = 1024 * 1024


class Load(Protocol):
    """What the process does."""

    def obey(self, question: dict[str, object]) -> None:
        """A line was read."""

    def turn(self) -> None:
        """Wait a moment for sockets, and do what there is to do."""


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


def obeying(load: Load) -> None:
    """The process' own end: serve until the input ends."""
    os.set_blocking(STDIN, False)
    asked = b""
    while True:
        try:
            part = os.read(STDIN, _LINE_PART)
        except BlockingIOError:
            part = None
        if part is not None:
            if not part:
                return
            asked += part
            if asked.endswith(b"\n"):
                load.obey(orjson.loads(asked))
                asked = b""
        load.turn()
