"""`parley restart`: the rolling restart of a running system, one process after another."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter, validators

from infra.cli.options import DATA_DEFAULT, DataOption, data_directory
from infra.local.data_directory import DataDirectory
from infra.local.probe import readiness
from infra.local.replacement import ask_to_end, ended, ready_again
from infra.local.run_file import Run, RunningProcess
from infra.nats.handover import all_settled, move_all_off, spread_again
from shared.bus import Bus
from shared.errors import BadRequest, Unavailable
from shared.retry import Deadline

ORDER = ("nats", "sequencer", "archiver", "reader", "edge")
"""What others stand on first: who restarts last connects to what will stay."""


async def restart(
    *names: Annotated[str, Parameter(help="Processes (`edge-1`) or kinds of them (`edge`); all if none.")],
    wait: Annotated[
        float,
        Parameter(validator=validators.Number(gt=0, lte=3600), help="Seconds that each process may take."),
    ] = 120.0,
    data: DataOption = DATA_DEFAULT,
) -> None:
    """Restart every process of a running system, one after another, so that clients notice a reconnect.

    Edges send their sessions elsewhere first. Before a NATS server ends, its leaders move to others; the next
    one waits until every copy is current again. Stops at the first process that is not ready in time.
    """
    directory = data_directory(data)
    run = directory.run()
    chosen = _chosen(run, names)
    for process in chosen:
        began = time.monotonic()
        deadline = Deadline.after(wait)
        await _others_ready(run, process)
        how = await (_restart_server if process.kind == "nats" else _restart)(directory, process, deadline)
        print(f"{process.name}: {how} ({time.monotonic() - began:.1f} s)", flush=True)
    if len(_servers(run)) > 1 and any(process.kind == "nats" for process in chosen):
        async with Bus.connect(directory.operator_settings(), "parley restart") as bus:
            moved = await spread_again(bus, _servers(run), run.partitions, Deadline.after(wait))
        print(f"leaders: {moved} moved, every server has its share")


def _chosen(run: Run, names: Sequence[str]) -> list[RunningProcess]:
    """In the order in which they are restarted, each once. Raises `BadRequest` for what is not there."""
    known = {word for process in run.processes for word in (process.name, process.kind)}
    for name in names:
        if name not in known:
            raise BadRequest(f"{name}: there are {', '.join(process.name for process in run.processes)}")
    chosen = [one for one in run.processes if not names or one.name in names or one.kind in names]
    return sorted(chosen, key=lambda process: ORDER.index(process.kind))


async def _others_ready(run: Run, process: RunningProcess) -> None:
    """Raises `Unavailable` if one of its kind is not: the two together may be one too many."""
    for other in run.processes:
        if other.kind == process.kind and other.name != process.name:
            answer = await readiness(other.url, other.ready_path)
            if not answer.ready:
                raise Unavailable(f"{process.name} is not restarted: {other.name} {answer.detail}")


async def _restart(directory: DataDirectory, process: RunningProcess, deadline: Deadline) -> str:
    before = directory.run().process(process.name)
    ask_to_end(before)
    await ended(directory, before, deadline)
    await ready_again(directory, before, deadline)
    return "restarted"


async def _restart_server(directory: DataDirectory, process: RunningProcess, deadline: Deadline) -> str:
    run = directory.run()
    servers = _servers(run)
    async with Bus.connect(directory.operator_settings(), "parley restart") as bus:
        moved = 0
        if len(servers) > 1:
            moved = await move_all_off(bus, process.name, servers, run.partitions, deadline)
        how = await _restart(directory, process, deadline)
        await all_settled(bus, run.partitions, deadline)
    return f"{moved} leaders moved off, {how}, every copy is current" if len(servers) > 1 else how


def _servers(run: Run) -> list[str]:
    return [process.name for process in run.processes if process.kind == "nats"]
