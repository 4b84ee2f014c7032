"""From options to processes: which run, with which command line and environment, in which order.

Pure: ports and secrets come in as values.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from infra.local.credentials import Credentials
from infra.local.data_directory import DataDirectory
from infra.local.options import Options
from infra.nats.config import Config, NatsNode, server_config
from infra.nats.permissions import ARCHIVER, EDGE, READER, SEQUENCER
from shared.errors import Misconfigured

Kind = Literal["nats", "sequencer", "archiver", "reader", "edge"]

STOP_ORDER: tuple[Kind, ...] = ("edge", "reader", "archiver", "sequencer", "nats")
"""Clients are moved away first; what they sent is then archived and numbered; the log goes last."""

_STOP_DEADLINE_S: dict[Kind, float] = {
    "edge": 15.0,
    "reader": 10.0,
    "archiver": 20.0,
    "sequencer": 10.0,
    "nats": 15.0,
}


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One process to keep alive."""

    name: str
    kind: Kind
    command: tuple[str, ...]
    env: dict[str, str]
    url: str
    ready_path: str
    log: Path
    stop_deadline_s: float
    """Between SIGTERM and SIGKILL."""
    partitions: str = ""
    """What it has of them, where they are divided: `0-3`."""
    store: Path | None = None
    """Where a NATS server keeps its streams."""


@dataclass(frozen=True, slots=True)
class Ports:
    """One per process and purpose, free when they were chosen."""

    edges: tuple[int, ...]
    nats: tuple[int, ...]
    nats_monitor: tuple[int, ...]
    nats_cluster: tuple[int, ...]
    sequencers: tuple[int, ...]
    archivers: tuple[int, ...]
    readers: tuple[int, ...] = ()
    shared: int = 0
    """Served by all edges together, beside their own; 0: there is one edge."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that will run, and the files that it needs first."""

    children: tuple[ChildSpec, ...]
    configs: tuple[tuple[Path, Config], ...]
    nats_url: str
    replicas: Literal[1, 3]
    edges: tuple[str, ...]
    page: str
    """What people open: the address that all edges share, or that of the only one."""


def plan(
    options: Options, directory: DataDirectory, credentials: Credentials, ports: Ports, binary: Path
) -> Plan:
    """The processes of a local system, in the order in which they start; `binary` is nats-server's."""
    nodes = _nodes(options, directory, ports)
    nats_url = ",".join(f"nats://127.0.0.1:{node.port}" for node in nodes)
    services = _Services(directory, credentials, _common_env(options, nats_url))
    at = f"http://{_reachable(options.host)}"
    return Plan(
        children=(
            *(_nats_child(node, directory, binary) for node in nodes),
            *(services.sequencer(name, port) for name, port in _named("sequencer", ports.sequencers)),
            *(
                services.archiver(name, port, share)
                for (name, port), share in zip(
                    _named("archiver", ports.archivers),
                    shares(options.partitions, len(ports.archivers)),
                    strict=True,
                )
            ),
            *(services.reader(name, port) for name, port in _numbered("reader", ports.readers)),
            *(
                services.edge(number + 1, options.host, port, ports.shared)
                for number, port in enumerate(ports.edges)
            ),
        ),
        configs=tuple(
            (
                _config_path(directory, node),
                server_config(
                    node,
                    passwords=credentials.nats,
                    route_password=credentials.cluster,
                    partitions=options.partitions,
                    durability=options.durability,
                    peers=nodes,
                ),
            )
            for node in nodes
        ),
        nats_url=nats_url,
        replicas=options.nats,
        edges=tuple(f"{at}:{port}" for port in ports.edges),
        page=f"{at}:{ports.shared or ports.edges[0]}",
    )


@dataclass(frozen=True, slots=True)
class _Services:
    """The Python services: each with the user, the port and the settings of its own."""

    directory: DataDirectory
    credentials: Credentials
    env: dict[str, str]

    def sequencer(self, name: str, port: int) -> ChildSpec:
        return self._service(name, "sequencer", SEQUENCER, port, {"PARLEY_METRICS_PORT": str(port)})

    def archiver(self, name: str, port: int, share: range) -> ChildSpec:
        partitions = f"{share[0]}-{share[-1]}"
        env = {
            "PARLEY_ARCHIVER_PARTITIONS": partitions,
            "PARLEY_METRICS_PORT": str(port),
            "PARLEY_ARCHIVE": self.directory.archive,
        }
        return replace(self._service(name, "archiver", ARCHIVER, port, env), partitions=partitions)

    def reader(self, name: str, port: int) -> ChildSpec:
        env = {
            "PARLEY_METRICS_PORT": str(port),
            "PARLEY_ARCHIVE": self.directory.archive,
            "PARLEY_ARCHIVE_CACHE": str(self.directory.reader_cache(name)),
        }
        command = (sys.executable, "-m", "archiver", "--reader")
        return replace(self._service(name, "reader", READER, port, env), command=command)

    def edge(self, number: int, host: str, port: int, shared_port: int) -> ChildSpec:
        env = {
            "PARLEY_HOST": host,
            "PARLEY_PORT": str(port),
            "PARLEY_SHARED_PORT": str(shared_port),
            "PARLEY_JWT_SECRET": self.credentials.jwt,
        }
        return self._service(f"edge-{number}", "edge", EDGE, port, env, _reachable(host))

    def _service(
        self, name: str, kind: Kind, user: str, port: int, env: dict[str, str], host: str = "127.0.0.1"
    ) -> ChildSpec:
        secret = {"PARLEY_NATS_USER": user, "PARLEY_NATS_PASSWORD": self.credentials.nats[user]}
        return ChildSpec(
            name=name,
            kind=kind,
            command=(sys.executable, "-m", kind),
            env=self.env | secret | env,
            url=f"http://{host}:{port}",
            ready_path="/readyz",
            log=self.directory.logs / f"{name}.log",
            stop_deadline_s=_STOP_DEADLINE_S[kind],
        )


def shares(partitions: int, archivers: int) -> list[range]:
    """Which partitions each archiver keeps: in a row, and as many as any other, or one less.

    Raises `Misconfigured` if one would have none.
    """
    if archivers > partitions:
        raise Misconfigured(f"--archivers {archivers}: there are {partitions} partitions, at most one each")
    bounds = [partitions * number // archivers for number in range(archivers + 1)]
    return [range(first, last) for first, last in itertools.pairwise(bounds)]


def _named(kind: Kind, ports: tuple[int, ...]) -> list[tuple[str, int]]:
    """A process that is alone has the name of its kind, several are numbered from 1."""
    return [(kind, ports[0])] if len(ports) == 1 else _numbered(kind, ports)


def _numbered(kind: str, ports: tuple[int, ...]) -> list[tuple[str, int]]:
    return [(f"{kind}-{number + 1}", port) for number, port in enumerate(ports)]


def _common_env(options: Options, nats_url: str) -> dict[str, str]:
    return {
        "PYTHONUNBUFFERED": "1",
        "PARLEY_NATS_URL": nats_url,
        "PARLEY_PARTITIONS": str(options.partitions),
        "PARLEY_REPLICAS": str(options.nats),
        "PARLEY_DURABILITY": options.durability,
        "PARLEY_LOG_LEVEL": options.log_level,
        "PARLEY_LOG_FORMAT": "json",
        **(options.env or {}),
    }


def _nodes(options: Options, directory: DataDirectory, ports: Ports) -> list[NatsNode]:
    return [
        NatsNode(
            name=f"nats-{number + 1}",
            port=ports.nats[number],
            monitor_port=ports.nats_monitor[number],
            cluster_port=ports.nats_cluster[number],
            store=directory.nats.absolute() / f"nats-{number + 1}",
        )
        for number in range(options.nats)
    ]


def _config_path(directory: DataDirectory, node: NatsNode) -> Path:
    return directory.nats / f"{node.name}.conf"


def _nats_child(node: NatsNode, directory: DataDirectory, binary: Path) -> ChildSpec:
    return ChildSpec(
        name=node.name,
        kind="nats",
        command=(str(binary), "-c", str(_config_path(directory, node))),
        env={},
        url=f"http://127.0.0.1:{node.monitor_port}",
        ready_path="/healthz",
        log=directory.logs / f"{node.name}.log",
        stop_deadline_s=_STOP_DEADLINE_S["nats"],
        store=node.store,
    )


def _reachable(host: str) -> str:
    """An address for a browser on this machine."""
    return "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host  # noqa: S104  # compared, not bound
