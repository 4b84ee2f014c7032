"""`parley rebalance`: spreads the leaders of logs and buckets over the NATS servers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated

from cyclopts import Parameter, validators

from infra.cli.options import DATA_DEFAULT, DataOption, data_directory
from infra.local.run_file import Run
from infra.nats.handover import even, leaders_of
from infra.nats.leaders import Move, loads, move_leader
from shared import subjects
from shared.bus import Bus
from shared.errors import BadRequest
from shared.ids import Partition
from shared.retry import Deadline


async def rebalance(
    *,
    partition: Annotated[
        int | None, Parameter(validator=validators.Number(gte=0), help="Move this log's leader; with --off.")
    ] = None,
    off: Annotated[str | None, Parameter(help="Move leaders off this server, `nats-2` for example.")] = None,
    wait: Annotated[
        float,
        Parameter(validator=validators.Number(gt=0, lte=3600), help="Seconds that each move may take."),
    ] = 30.0,
    data: DataOption = DATA_DEFAULT,
) -> None:
    """Spread the leaders of logs and buckets evenly over the NATS servers, one after the other.

    With --off: move every leader off a server, before it is restarted for example; with --partition too,
    only that of one log. Each move waits until every copy is current. Fails, and moves nothing more, if one
    is not in time.
    """
    directory = data_directory(data)
    run = directory.run()
    servers = [process.name for process in run.processes if process.kind == "nats"]
    _check(run, servers, partition, off)
    async with Bus.connect(directory.operator_settings(), "parley rebalance") as bus:
        leaders = await leaders_of(bus, run.partitions, wait)
        moves = _moves(leaders, servers, partition, off)
        for move in moves:
            began = time.monotonic()
            leader = await move_leader(bus, move, Deadline.after(wait), anywhere=off is not None)
            leaders[move.stream] = leader
            print(f"{move.stream}: {move.source} → {leader} ({time.monotonic() - began:.1f} s)", flush=True)
    if not moves:
        print("nothing to move")
    counts = loads(leaders, servers)
    print("leads: " + ", ".join(f"{server} {counts[server]}" for server in servers))


def _check(run: Run, servers: Sequence[str], partition: int | None, off: str | None) -> None:
    """Raises `BadRequest` for what cannot be done here."""
    if len(servers) < 2:
        raise BadRequest("there is one NATS server, which leads everything: start with `parley up --nats 3`")
    if partition is not None and off is None:
        raise BadRequest("--partition needs --off: which server is its leader to leave?")
    if partition is not None and partition >= run.partitions:
        raise BadRequest(f"--partition {partition}: the partitions are 0 to {run.partitions - 1}")
    if off is not None and off not in servers:
        raise BadRequest(f"--off {off}: the servers are {', '.join(servers)}")


def _moves(
    leaders: Mapping[str, str], servers: Sequence[str], partition: int | None, off: str | None
) -> list[Move]:
    others = [server for server in servers if server != off]
    wanted = leaders.keys() if partition is None else {subjects.log_stream(Partition(partition))}
    return [
        move
        for move in even(leaders, others)
        if off is None or (move.source == off and move.stream in wanted)
    ]
