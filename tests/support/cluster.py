"""Three NATS servers that keep three copies of every stream, with the users that Parley has there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from infra.nats.config import NatsNode, server_config, write_config
from infra.nats.permissions import OPERATOR, USERS
from shared.settings import CommonSettings
from tests.support.container import server_for_tests
from tests.support.nats import NatsServer
from tests.support.ports import own_port

SERVERS = ("nats-1", "nats-2", "nats-3")
PASSWORD = "secret"
PARTITIONS = 2


def servers_of_cluster(folder: Path) -> dict[str, NatsServer]:
    """The servers by name, not yet started; each stores in a folder of its name."""
    nodes = [
        NatsNode(
            name=name,
            port=own_port(),
            monitor_port=own_port(),
            cluster_port=own_port(),
            store=folder / name,
        )
        for name in SERVERS
    ]
    return {node.name: _server(folder, node, nodes) for node in nodes}


def _server(folder: Path, node: NatsNode, nodes: list[NatsNode]) -> NatsServer:
    config = folder / f"{node.name}.conf"
    write_config(
        config,
        server_config(
            node,
            passwords=dict.fromkeys(USERS, PASSWORD),
            route_password="route",
            partitions=PARTITIONS,
            durability="process",
            peers=nodes,
        ),
    )
    return server_for_tests(folder / f"{node.name}-log", config=config, port=node.port)


def operator_settings(cluster: Mapping[str, NatsServer]) -> CommonSettings:
    """Settings of the operator, who may ask everything."""
    return CommonSettings(
        nats_url=",".join(server.url for server in cluster.values()),
        nats_user=OPERATOR,
        nats_password=PASSWORD,
        partitions=PARTITIONS,
        replicas=3,
    )


def variables(cluster: Mapping[str, NatsServer], user: str) -> dict[str, str]:
    """The same for a service that is a process of its own."""
    settings = operator_settings(cluster)
    return {
        "PARLEY_NATS_URL": settings.nats_url,
        "PARLEY_NATS_USER": user,
        "PARLEY_NATS_PASSWORD": PASSWORD,
        "PARLEY_PARTITIONS": str(PARTITIONS),
        "PARLEY_REPLICAS": "3",
    }
