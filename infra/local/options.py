"""What `parley up` can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from infra.local.data_directory import DEFAULT

_PORT = validators.Number(gte=0, lte=65535)
_COUNT = validators.Number(gte=1, lte=64)


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Options:
    """Options of one local system."""

    data: Annotated[Path, Parameter(env_var="PARLEY_DATA", help="Where everything is kept.")] = DEFAULT
    host: Annotated[str, Parameter(help="Address on which the edges listen.")] = "127.0.0.1"
    port: Annotated[
        int,
        Parameter(
            validator=_PORT,
            help="Port of the edge; several share it, and their own ports follow; 0: free ones.",
        ),
    ] = 8080
    edges: Annotated[int, Parameter(validator=_COUNT, help="Number of edges.")] = 1
    sequencers: Annotated[
        int, Parameter(validator=_COUNT, help="Number of sequencers: all do the same, one is enough.")
    ] = 1
    archivers: Annotated[
        int, Parameter(validator=_COUNT, help="Number of archivers, among which the partitions are divided.")
    ] = 1
    readers: Annotated[
        int,
        Parameter(
            validator=validators.Number(gte=0, lte=64),
            help="Number of readers: each answers what archivers answer, of all partitions; none writes.",
        ),
    ] = 0
    nats: Annotated[
        Literal[1, 3],
        Parameter(help="Number of NATS servers, fixed at first start; with 3 every log has three copies."),
    ] = 1
    nats_port: Annotated[
        int, Parameter(validator=_PORT, help="Port of the first NATS server; a free one where it is taken.")
    ] = 4222
    partitions: Annotated[
        int, Parameter(validator=validators.Number(gte=1, lte=1024), help="Fixed at first start.")
    ] = 8
    durability: Annotated[
        Literal["power", "process", "quorum"],
        Parameter(help="Which failure an acknowledged message survives."),
    ] = "power"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Parameter(help="What the services log to their files.")
    ] = "info"
    verbose: Annotated[bool, Parameter(help="Show every log line here, not only warnings.")] = False
    env: Annotated[
        dict[str, str] | None,
        Parameter(help="More settings of the services: `--env.PARLEY_FLUSH_EVENTS 1000`."),
    ] = field(default=None)
