"""Every service reaches NATS through the network, and no server tells it a way around."""

from __future__ import annotations

from pathlib import Path

from infra.local.credentials import load_or_create
from infra.local.data_directory import DataDirectory
from infra.local.options import Options
from infra.local.plan import plan
from infra.local.system import choose_ports
from tests.chaos.launch import rerouted


def test_services_are_rerouted_and_servers_are_discreet(tmp_path: Path) -> None:
    """Only who has a route gets other addresses; a cluster does not advertise its servers."""
    options = Options(data=tmp_path, port=0, nats_port=0, nats=3, edges=2)
    credentials = load_or_create(tmp_path / "credentials.json")
    planned = plan(options, DataDirectory(tmp_path), credentials, choose_ports(options), Path("nats-server"))
    changed = rerouted(planned, {"edge-1": "nats://127.0.0.1:1", "archiver": "nats://127.0.0.1:2"})
    urls = {child.name: child.env.get("PARLEY_NATS_URL") for child in changed.children}
    assert urls["edge-1"] == "nats://127.0.0.1:1"
    assert urls["archiver"] == "nats://127.0.0.1:2"
    assert urls["edge-2"] == planned.nats_url
    for _, config in changed.configs:
        cluster = config["cluster"]
        assert isinstance(cluster, dict)
        assert cluster["no_advertise"] is True
