"""The configuration of one nats-server as data, in the JSON form that it reads.

Values that were chosen, and why:
* `sync_interval`: what an acknowledged message survives (`durability`). `power`: fsync before the ack.
  `process` and `quorum`: the default of two minutes; a killed process loses nothing, a power cut may.
* `write_deadline` 5 s: a client that stops reading is cut off before its backlog grows.
* `ping_interval` 5 s, `ping_max` 2: a client that says nothing is given up after 15 s. Until then the server
  goes on giving it its share of the requests that its queue group shares, and nobody answers those.
* `strict`: a request with a field that the server does not know is refused instead of half obeyed.
* `max_payload` 1 MiB bounds every message; streams have tighter bounds of their own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from infra.nats.permissions import Permissions, permissions

ACCOUNT = "PARLEY"
CLUSTER = "parley"
PAYLOAD_BYTES_MAX = 1024 * 1024
WRITE_DEADLINE = "5s"
PING_INTERVAL = "5s"

Durability = Literal["power", "process", "quorum"]
Config = dict[str, object]


@dataclass(frozen=True, slots=True)
class NatsNode:
    """One server: its name, the ports it listens on, and where it stores."""

    name: str
    port: int
    monitor_port: int
    store: Path
    host: str = "127.0.0.1"
    cluster_port: int = 0
    """0 where the server stands alone."""


def server_config(
    node: NatsNode,
    *,
    passwords: Mapping[str, str],
    route_password: str,
    partitions: int,
    durability: Durability,
    peers: Sequence[NatsNode] = (),
) -> Config:
    """The configuration of `node`.

    `passwords` by user; `peers` are all servers of its cluster, itself included.
    """
    jetstream: Config = {"store_dir": str(node.store), "strict": True, "max_memory_store": 256 * 1024 * 1024}
    if durability == "power":
        jetstream["sync_interval"] = "always"
    config: Config = {
        "server_name": node.name,
        "listen": f"{node.host}:{node.port}",
        "http": f"127.0.0.1:{node.monitor_port}",
        "max_payload": PAYLOAD_BYTES_MAX,
        "write_deadline": WRITE_DEADLINE,
        "ping_interval": PING_INTERVAL,
        "ping_max": 2,
        "lame_duck_duration": "30s",
        "lame_duck_grace_period": "5s",
        "jetstream": jetstream,
        "accounts": {ACCOUNT: {"jetstream": "enabled", "users": _users(passwords, partitions)}},
    }
    if len(peers) > 1:
        config["cluster"] = _cluster(node, peers, route_password)
    return config


def write_config(path: Path, config: Config) -> None:
    """Write it with mode 0600: it holds passwords."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(config, file, indent=2)
    partial.replace(path)


def _users(passwords: Mapping[str, str], partitions: int) -> list[Config]:
    return [
        {"user": user, "password": passwords[user], "permissions": _rules(allowed)}
        for user, allowed in permissions(partitions).items()
    ]


def _rules(allowed: Permissions) -> Config:
    rules: Config = {
        "publish": {"allow": list(allowed.publish)},
        "subscribe": {"allow": list(allowed.subscribe)},
    }
    if allowed.answers:
        rules["allow_responses"] = {"max": 1, "ttl": "1m"}
    return rules


def _cluster(node: NatsNode, peers: Sequence[NatsNode], password: str) -> Config:
    return {
        "name": CLUSTER,
        "listen": f"{node.host}:{node.cluster_port}",
        "authorization": {"user": "route", "password": password, "timeout": 2},
        "routes": [
            f"nats://route:{password}@{peer.host}:{peer.cluster_port}" for peer in peers if peer is not node
        ],
    }
