"""Where a run takes place: the real processes, a network between them, small disks under some of them."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.lifeline import port_is_free
from shared.ids import Partition
from shared.subjects import log_stream
from tests.bench.system import UNLIMITED, Launch, System, running
from tests.chaos import disks
from tests.chaos.launch import ROUTES
from tests.chaos.network import CLIENTS, HOST, Network
from tests.chaos.schedule import HURRIED, STEADY, Kind, Pace, Victims
from tests.support.ports import own_port

PARTITIONS = 8
READERS = 4
HEARTBEAT_S = 5.0
"""Half-open connections are noticed after 1.5 of these; the default of 20 s only makes runs longer."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a system, how many readers, how long to wait for the end."""

    edges: int = 2
    sequencers: int = 1
    archivers: int = 1
    nats: int = 1
    durability: str = "process"
    readers: int = READERS
    pace: Pace = STEADY
    linger_s: float = 5.0
    """How long people talk on after the last fault, so that the end of its silences is seen."""
    settle_s: float = 90.0
    """Within this everybody must be served again."""
    verify_s: float = 60.0
    """What `parley verify` has for archive and checkpoints to catch up."""

    @property
    def services(self) -> list[str]:
        """The names of the processes that reach NATS through the network."""
        edges = [f"edge-{number + 1}" for number in range(self.edges)]
        return [*edges, *_named("sequencer", self.sequencers), *self.keepers]

    @property
    def keepers(self) -> list[str]:
        """The names of the archivers."""
        return _named("archiver", self.archivers)

    @property
    def servers(self) -> list[str]:
        """The names of the NATS servers."""
        return [f"nats-{number + 1}" for number in range(self.nats)]


ALONE = Scale()
SHORT = Scale(pace=HURRIED, linger_s=1.0, settle_s=40.0, verify_s=30.0)
"""Part of the test suite."""
CLUSTER = Scale(edges=3, sequencers=2, archivers=2, nats=3, durability="quorum", readers=32)
"""What `just cluster` runs; the readers make the deliveries, a million in twenty minutes."""


@dataclass(frozen=True, slots=True)
class Arena:
    """A running system and what can be hurt of it."""

    system: System
    network: Network
    victims: Victims
    stores: dict[str, Path]
    """File systems that can be filled, by the process that stores there."""
    doors: list[str]
    """Where clients reach each edge, through the network."""
    skipped: dict[Kind, str] = field(default_factory=dict)
    """Kinds of faults that are not possible here, and why."""


@contextlib.asynccontextmanager
async def opened(scale: Scale, kinds: Sequence[Kind] = ()) -> AsyncIterator[Arena]:
    """Everything is ready. `kinds`: only these, if any are named."""
    async with contextlib.AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(_scratch()))
        skipped: dict[Kind, str] = {}
        stores = _small_disks(stack, scratch, skipped)
        network = await stack.enter_async_context(Network.opened())
        nats_port = _ports(scale.nats)
        routes = {service: await _route(network, scale, service, nats_port) for service in scale.services}
        starting = running(
            edges=scale.edges,
            nats=scale.nats,
            sequencers=scale.sequencers,
            archivers=scale.archivers,
            durability=scale.durability,
            env=UNLIMITED | {"PARLEY_HEARTBEAT_S": str(HEARTBEAT_S)},
            scratch=scratch,
            launch=Launch("tests.chaos.launch", nats_port, {ROUTES: json.dumps(routes)}),
        )
        system = await stack.enter_async_context(starting)
        doors = [f"http://{HOST}:{await _door(network, system, number)}" for number in range(scale.edges)]
        yield Arena(system, network, _victims(scale, stores, skipped, kinds), stores, doors, skipped)


def _named(kind: str, count: int) -> list[str]:
    """As `parley up` names them: one alone by its kind, several by number."""
    return [kind] if count == 1 else [f"{kind}-{number + 1}" for number in range(count)]


def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="parley-chaos-", ignore_cleanup_errors=True)


def _small_disks(
    stack: contextlib.ExitStack | contextlib.AsyncExitStack, scratch: Path, skipped: dict[Kind, str]
) -> dict[str, Path]:
    if why_not := disks.why_not_full(scratch):
        skipped["full disk"] = why_not
        return {}
    stores = {"nats-1": scratch / "data" / "nats" / "nats-1", "archive": scratch / "data" / "archive"}
    for path in stores.values():
        stack.enter_context(disks.small_disk(path))
    return stores


def _victims(
    scale: Scale, stores: dict[str, Path], skipped: dict[Kind, str], kinds: Sequence[Kind]
) -> Victims:
    slow = [*scale.servers, *scale.keepers]
    if why_not := disks.why_not_slow():
        skipped["slow disk"] = why_not
        slow = []
    streams = [log_stream(Partition(number)) for number in range(PARTITIONS)]
    if scale.nats == 1:
        of_many: tuple[Kind, ...] = ("pause follower", "step down", "step down all")
        skipped.update(dict.fromkeys(of_many, "there is one NATS server"))
        streams = []
    doors = [f"{CLIENTS}>edge-{number + 1}" for number in range(scale.edges)]
    processes = [*scale.services, *scale.servers]
    return Victims(processes, [*doors, *scale.services], list(stores), slow, streams, kinds)


def _ports(count: int) -> int:
    """The first of so many consecutive ports that are free."""
    while True:
        first = own_port()
        if all(port_is_free(first + number) for number in range(count)):
            return first


async def _route(network: Network, scale: Scale, service: str, nats_port: int) -> str:
    """The addresses at which a service reaches the NATS servers."""
    ports = [
        await network.open(service, server, nats_port + number) for number, server in enumerate(scale.servers)
    ]
    return ",".join(f"nats://{HOST}:{port}" for port in ports)


async def _door(network: Network, system: System, number: int) -> int:
    """The port at which clients reach an edge."""
    return await network.open(CLIENTS, f"edge-{number + 1}", int(system.edges[number].rpartition(":")[2]))
