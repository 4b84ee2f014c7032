"""The server's configuration, and the real server's opinion of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from infra.nats.binary import nats_server_binary
from infra.nats.config import Config, Durability, NatsNode, server_config, write_config
from infra.nats.permissions import USERS

PASSWORDS = {user: f"secret-{user}" for user in USERS}
NODES = [
    NatsNode(f"nats-{n}", 4221 + n, 8221 + n, Path(f"/tmp/n{n}"), cluster_port=6221 + n) for n in (1, 2, 3)
]


def _config(*, durability: Durability = "power", nodes: int = 1, partitions: int = 8) -> Config:
    return server_config(
        NODES[0],
        passwords=PASSWORDS,
        route_password="secret-route",
        partitions=partitions,
        durability=durability,
        peers=NODES[:nodes],
    )


@pytest.mark.parametrize("nodes", [1, 3])
@pytest.mark.parametrize("durability", ["power", "process", "quorum"])
def test_the_server_accepts_every_configuration(tmp_path: Path, nodes: int, durability: Durability) -> None:
    """`nats-server -t` finds no error."""
    write_config(tmp_path / "nats.conf", _config(durability=durability, nodes=nodes))
    command = [str(nats_server_binary()), "-t", "-c", str(tmp_path / "nats.conf")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("durability", "sync"), [("power", "always"), ("process", None), ("quorum", None)])
def test_durability_decides_when_the_disk_is_waited_for(durability: Durability, sync: str | None) -> None:
    """Only `power` syncs before the acknowledgement."""
    jetstream = _config(durability=durability)["jetstream"]
    assert isinstance(jetstream, dict)
    assert jetstream.get("sync_interval") == sync
    assert jetstream["strict"] is True


def test_limits_are_set() -> None:
    """One message is at most 1 MiB, and who does not read is cut off after 5 s."""
    config = _config()
    assert config["max_payload"] == 1024 * 1024
    assert config["write_deadline"] == "5s"


def test_routes_lead_to_the_others_only() -> None:
    """A server of a cluster connects to every other one; a single server has no cluster at all."""
    cluster = _config(nodes=3)["cluster"]
    assert isinstance(cluster, dict)
    assert [route.rpartition("@")[2] for route in cluster["routes"]] == ["127.0.0.1:6223", "127.0.0.1:6224"]
    assert "cluster" not in _config(nodes=1)


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """It holds passwords: mode 0600, also when it replaces one that was open to all."""
    path = tmp_path / "nats.conf"
    path.touch(mode=0o644)
    write_config(path, _config())
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_fits_many_partitions(tmp_path: Path) -> None:
    """The permissions of 1024 partitions are still a configuration that the server reads."""
    write_config(tmp_path / "nats.conf", _config(partitions=1024))
    command = [str(nats_server_binary()), "-t", "-c", str(tmp_path / "nats.conf")]
    assert subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
