"""`parley rebalance` and `parley status` on a real cluster: three servers, three copies of every log."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.local_system import LocalSystem
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.faults]

SERVERS = ("nats-1", "nats-2", "nats-3")
PARTITIONS = 4


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """A running cluster, as `just cluster` starts it."""
    started = LocalSystem(
        tmp_path_factory.mktemp("cluster"),
        *(
            "--nats",
            "3",
            "--sequencers",
            "2",
            "--archivers",
            "2",
            "--edges",
            "3",
            "--partitions",
            str(PARTITIONS),
            "--durability",
            "quorum",
        ),
    )
    started.start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """A running system with one server."""
    started = LocalSystem(tmp_path_factory.mktemp("single"), "--partitions", "1", "--durability", "process")
    started.start()
    yield started
    started.stop()


def _leaders(system: LocalSystem) -> dict[str, str]:
    said = json.loads(system.parley("status", "--json", check=False).stdout)
    return {log["stream"]: log["leader"] for log in said["partitions"]}


async def test_every_process_of_the_cluster_is_ready(system: LocalSystem) -> None:
    """Three servers, two sequencers, two archivers, three edges; one sequencer is enough to number."""
    await eventually(lambda: system.parley("status", check=False).returncode == 0)
    kinds = Counter(process.kind for process in system.data.run().processes)
    assert kinds == {"nats": 3, "sequencer": 2, "archiver": 2, "edge": 3}
    os.kill(system.pid("sequencer-1"), signal.SIGSTOP)
    try:
        sent = system.parley("send", "one-of-two", "hello", "--create").stdout
        assert "one-of-two #2" in sent
        await eventually(lambda: _numbered(system))
    finally:
        os.kill(system.pid("sequencer-1"), signal.SIGCONT)


def test_what_two_archivers_keep_is_one_archive(system: LocalSystem) -> None:
    """They divide the partitions, as `status` shows; `sql`, `history` and `verify` see no seam."""
    said = json.loads(system.parley("status", "--json", check=False).stdout)
    kept = {one["name"]: one["partitions"] for one in said["processes"] if one["kind"] == "archiver"}
    assert kept == {"archiver-1": "0-1", "archiver-2": "2-3"}
    for number in range(8):
        system.parley("send", f"seam-{number}", "hello", "--create")
    assert "nothing differs" in system.parley("verify").stdout
    query = "select count(distinct channel) from events where channel like 'seam-%'"
    assert "8" in system.parley("sql", query).stdout
    for number in range(8):
        assert "hello" in system.parley("history", f"seam-{number}").stdout


def _numbered(system: LocalSystem) -> bool:
    said = json.loads(system.parley("status", "--json", check=False).stdout)
    return all(log["numbered"] == log["last"] for log in said["partitions"]) and any(
        log["last"] for log in said["partitions"]
    )


async def test_every_copy_is_shown(system: LocalSystem) -> None:
    """For each log its leader, and the two others as current replicas that lag behind nothing."""
    await eventually(lambda: system.parley("status", check=False).returncode == 0)
    said = json.loads(system.parley("status", "--json").stdout)
    assert len(said["partitions"]) == PARTITIONS
    for log in said["partitions"]:
        assert {log["leader"], *(replica["name"] for replica in log["replicas"])} == set(SERVERS)
        assert all(replica["current"] and not replica["lag"] for replica in log["replicas"])
    lines = system.parley("status").stdout.splitlines()
    assert sum("current" in line and line.startswith("LOG_") for line in lines) == PARTITIONS


def test_a_server_gives_up_everything_and_gets_its_share_again(system: LocalSystem) -> None:
    """--off leaves a server without any leader; a rebalance after it spreads them evenly."""
    said = system.parley("rebalance", "--off", "nats-2").stdout
    assert "nats-2 0" in said
    assert "nats-2" not in _leaders(system).values()
    said = system.parley("rebalance").stdout
    assert " → nats-2 (" in said
    counts = Counter(_leaders(system).values())
    assert sorted(counts[server] for server in SERVERS) == [1, 1, 2]
    assert "nothing to move" in system.parley("rebalance").stdout


def test_one_log_moves_alone(system: LocalSystem) -> None:
    """The leader of one partition leaves a server, the others stay; again there is nothing to do."""
    before = _leaders(system)
    order = ("rebalance", "--partition", "3", "--off", before["LOG_3"])
    assert f"LOG_3: {before['LOG_3']} → " in system.parley(*order).stdout
    after = _leaders(system)
    assert after.pop("LOG_3") != before.pop("LOG_3")
    assert after == before
    assert "nothing to move" in system.parley(*order).stdout


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ("--off nats-4", "the servers are nats-1, nats-2, nats-3"),
        ("--partition 4 --off nats-1", "the partitions are 0 to 3"),
        ("--partition 1", "--partition needs --off"),
    ],
)
def test_what_is_not_there_is_refused(system: LocalSystem, order: str, said: str) -> None:
    """Exit code 1, one line that names what there is."""
    refused = system.parley("rebalance", *order.split(), check=False)
    assert (refused.returncode, said in refused.stderr) == (1, True), refused.stderr


def test_one_server_has_nothing_to_spread(single: LocalSystem) -> None:
    """Exit code 1, with the option that would help."""
    refused = single.parley("rebalance", check=False)
    assert (refused.returncode, "--nats 3" in refused.stderr) == (1, True), refused.stderr
