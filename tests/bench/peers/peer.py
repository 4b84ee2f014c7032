"""A server whose fan-out is measured, however it is built: a process, a port, and a way to publish.

Each module of this directory that has a function `start` is one. It yields a `Peer` for so many listeners, or
raises `Skipped` where something that it needs is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.lifeline import die_with_parent
from tests.bench.report import ROOT

START_DEADLINE_S = 30.0
INSTALL_DEADLINE_S = 900.0
HERE = Path(__file__).parent


class Skipped(Exception):
    """The peer cannot be measured on this machine; the message says why."""


class Missing(Exception):
    """Not everybody was sent everything in order."""


@dataclass(frozen=True, slots=True)
class Peer:
    """`publish` is given texts that carry a mark, and sends each to all listeners. It raises `Missing`.

    `arguments`: what each listener's dialect is made with. `others`: processes that work for it, by name.
    `probed_ms`: milliseconds until it has answered a frame that needs nothing else, if there is one.
    """

    pid: int
    port: int
    publish: Callable[[Sequence[str]], Awaitable[None]]
    arguments: Sequence[Sequence[str]]
    dialect: str = "plain"
    others: dict[str, int] = field(default_factory=dict)
    probed_ms: Callable[[], Awaitable[float]] | None = None


Encode = Callable[[str], bytes]
"""A text to the message that a peer sends: as long as what Parley makes of the text."""


@contextlib.asynccontextmanager
async def process(
    command: Sequence[str], env: dict[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A child that ends with the context."""
    child = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=os.environ | (env or {}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent(),
    )
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


@contextlib.asynccontextmanager
async def piped(
    command: Sequence[str],
    listeners: int,
    encode: Encode,
    *,
    dialect: str = "plain",
    env: dict[str, str] | None = None,
) -> AsyncIterator[Peer]:
    """A peer that prints its port, and sends every line of its standard input."""
    async with process(command, env) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        stdin = child.stdin
        async with asyncio.timeout(START_DEADLINE_S):
            said = await child.stdout.readline()
        if not said.strip().isdigit():
            raise Skipped(f"{command[0]} did not start; see what it says above")

        async def publish(texts: Sequence[str]) -> None:
            stdin.write(b"".join(encode(text) + b"\n" for text in texts))
            await stdin.drain()

        yield Peer(child.pid, int(said), publish, [()] * listeners, dialect)


def tool(*names: str) -> str:
    """The first of these programs that is installed. Raises `Skipped`."""
    for name in names:
        if found := shutil.which(name):
            return found
    raise Skipped(f"{' or '.join(names)} is not installed")


def cache(name: str) -> Path:
    """A directory for what is built or fetched once; `XDG_CACHE_HOME` moves it."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = home / "parley-bench" / name
    path.mkdir(parents=True, exist_ok=True)
    return path


async def install(what: str, command: Sequence[str], env: dict[str, str] | None = None) -> None:
    """Run a package manager or compiler to its end. Raises `Skipped` with the last thing that it said."""

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=os.environ | (env or {}),
            capture_output=True,
            text=True,
            timeout=INSTALL_DEADLINE_S,
            check=False,
        )

    try:
        done = await asyncio.to_thread(run)
    except subprocess.TimeoutExpired:
        raise Skipped(f"{what}: not installed within {INSTALL_DEADLINE_S:g} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
        raise Skipped(f"{what} cannot be installed: {said[0][:300]}")
