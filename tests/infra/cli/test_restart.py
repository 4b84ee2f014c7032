"""`parley restart`: which processes are restarted, and when it stops; under load see tests/system."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.support.local_system import LocalSystem
from tests.support.waiting import eventually

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """A running system: one NATS server, two sequencers."""
    started = LocalSystem(
        tmp_path_factory.mktemp("restart"),
        *("--sequencers", "2", "--partitions", "1", "--durability", "process"),
    )
    started.start()
    yield started
    started.stop()


def _pids(system: LocalSystem) -> dict[str, int | None]:
    return {process.name: process.pid for process in system.data.run().processes}


def _restarted(system: LocalSystem, before: dict[str, int | None]) -> set[str]:
    return {name for name, pid in _pids(system).items() if pid != before[name]}


def test_a_kind_is_restarted_one_by_one(system: LocalSystem) -> None:
    """Both sequencers, in order, and nothing else."""
    before = _pids(system)
    said = system.parley("restart", "sequencer").stdout.splitlines()
    assert [line.split(":")[0] for line in said] == ["sequencer-1", "sequencer-2"]
    assert _restarted(system, before) == {"sequencer-1", "sequencer-2"}


def test_what_others_stand_on_comes_first(system: LocalSystem) -> None:
    """The order is the system's, whatever the order of the names; a single server is restarted as it is."""
    before = _pids(system)
    said = system.parley("restart", "edge-1", "archiver", "nats-1", "nats-1").stdout.splitlines()
    assert [line.split(" (")[0] for line in said] == [
        "nats-1: restarted",
        "archiver: restarted",
        "edge-1: restarted",
    ]
    assert _restarted(system, before) == {"nats-1", "archiver", "edge-1"}


def test_what_is_not_there_is_refused(system: LocalSystem) -> None:
    """Exit code 1 with the names that there are; nothing is restarted, not even what was named beside it."""
    before = _pids(system)
    refused = system.parley("restart", "edge-1", "edge-2", check=False)
    assert (refused.returncode, "edge-2: there are nats-1, " in refused.stderr) == (1, True), refused.stderr
    assert not _restarted(system, before)


async def test_the_last_one_that_is_ready_is_left_alone(system: LocalSystem) -> None:
    """While one sequencer does not answer, the other is not ended: exit code 1, with the reason."""
    before = _pids(system)
    frozen = system.pid("sequencer-1")
    os.kill(frozen, signal.SIGSTOP)
    try:
        refused = system.parley("restart", "sequencer-2", check=False)
    finally:
        os.kill(frozen, signal.SIGCONT)
    said = "sequencer-2 is not restarted: sequencer-1 does not answer"
    assert (refused.returncode, said in refused.stderr) == (1, True), refused.stderr
    assert not _restarted(system, before)
    await eventually(lambda: system.parley("status", check=False).returncode == 0)


async def test_a_process_that_takes_too_long_is_named(system: LocalSystem) -> None:
    """Exit code 1 at the deadline, and whatever comes after it is not touched."""
    before = _pids(system)
    late = system.parley("restart", "archiver", "edge-1", "--wait", "0.01", check=False)
    assert (late.returncode, "archiver" in late.stderr) == (1, True), late.stderr
    assert _pids(system)["edge-1"] == before["edge-1"]
    await eventually(lambda: system.parley("status", check=False).returncode == 0)
