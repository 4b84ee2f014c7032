"""`parley drain`: the rolling restart of one edge."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import Annotated

from cyclopts import Parameter, validators

from infra.cli.options import DATA_DEFAULT, DataOption, data_directory
from infra.local.data_directory import DataDirectory
from infra.local.probe import readiness
from infra.local.run_file import Run, RunningProcess
from shared.errors import BadRequest, Unavailable
from shared.retry import Deadline

_POLL_S = 0.1


async def drain(
    edge: str,
    /,
    *,
    wait: Annotated[
        float,
        Parameter(validator=validators.Number(gt=0, lte=3600), help="Seconds that it may take altogether."),
    ] = 60.0,
    data: DataOption = DATA_DEFAULT,
) -> None:
    """Send the sessions of EDGE (`edge-1` …) to other edges, end it, and wait until it is ready again.

    It takes no newcomers from the start, and tells its sessions to go spread over PARLEY_DRAIN_S seconds.
    """
    directory = data_directory(data)
    before = _edge(directory.run(), edge)
    if before.pid is None:
        raise Unavailable(f"{edge} is down and about to start: nothing to drain (see `parley status`)")
    began = time.monotonic()
    deadline = Deadline.after(wait)
    with contextlib.suppress(ProcessLookupError):  # it has just ended by itself, and is started again
        os.kill(before.pid, signal.SIGTERM)
    await _ended(directory, before, deadline)
    print(f"{edge}: drained and ended ({time.monotonic() - began:.1f} s)", flush=True)
    await _ready_again(directory, before, deadline)
    print(f"{edge}: ready again ({time.monotonic() - began:.1f} s)")


def _edge(run: Run, name: str) -> RunningProcess:
    """Raises `BadRequest` for what is no edge."""
    edges = {process.name: process for process in run.processes if process.kind == "edge"}
    if name not in edges:
        raise BadRequest(f"{name}: the edges are {', '.join(edges)}")
    return edges[name]


async def _ended(directory: DataDirectory, before: RunningProcess, deadline: Deadline) -> None:
    """Returns when the supervisor has seen its end."""
    while _edge(directory.run(), before.name).pid == before.pid:
        if deadline.passed:
            raise Unavailable(f"{before.name} (pid {before.pid}) has not ended in time; it goes on draining")
        await asyncio.sleep(_POLL_S)


async def _ready_again(directory: DataDirectory, before: RunningProcess, deadline: Deadline) -> None:
    while True:
        now = _edge(directory.run(), before.name)
        answer = await readiness(now.url, now.ready_path)
        if answer.ready and now.pid not in {None, before.pid}:
            return
        if deadline.passed:
            raise Unavailable(f"{before.name} has ended and is not ready again: {answer.detail or 'down'}")
        await asyncio.sleep(_POLL_S)
