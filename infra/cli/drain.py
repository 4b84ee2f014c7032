"""`parley drain`: the rolling restart of one edge."""

from __future__ import annotations

import time
from typing import Annotated

from cyclopts import Parameter, validators

from infra.cli.options import DATA_DEFAULT, DataOption, data_directory
from infra.local.replacement import ask_to_end, ended, ready_again
from infra.local.run_file import Run, RunningProcess
from shared.errors import BadRequest, Unavailable
from shared.retry import Deadline


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
    ask_to_end(before)
    await ended(directory, before, deadline)
    print(f"{edge}: drained and ended ({time.monotonic() - began:.1f} s)", flush=True)
    await ready_again(directory, before, deadline)
    print(f"{edge}: ready again ({time.monotonic() - began:.1f} s)")


def _edge(run: Run, name: str) -> RunningProcess:
    """Raises `BadRequest` for what is no edge."""
    edges = {process.name: process for process in run.processes if process.kind == "edge"}
    if name not in edges:
        raise BadRequest(f"{name}: the edges are {', '.join(edges)}")
    return edges[name]
