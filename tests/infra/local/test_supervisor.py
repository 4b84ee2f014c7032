"""Starting, healing and stopping real processes: NATS servers here, the whole system in tests/system."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from infra.local.child import ChildFailed
from infra.local.data_directory import DataDirectory
from infra.local.plan import ChildSpec
from shared.bus import Bus
from tests.support.supervising import nats_plan, run_of, supervised
from tests.support.waiting import eventually


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_killed_child_is_started_again(tmp_path: Path) -> None:
    """kill -9 of a child: a new process with the same address and data, and the run file knows it."""
    directory = DataDirectory(tmp_path)
    async with supervised(nats_plan(directory), directory) as (_, said):
        before = run_of(directory).process("nats-1")
        assert before.pid is not None
        os.kill(before.pid, signal.SIGKILL)
        after = await eventually(
            lambda: next((p for p in run_of(directory).processes if p.pid not in {None, before.pid}), None)
        )
        assert (after.url, after.restarts) == (before.url, 1)
        assert any("SIGKILL" in line for line in said)


async def test_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    """After the stop no child lives and no run file claims so; what was stored is there at the next start."""
    directory = DataDirectory(tmp_path)
    planned = nats_plan(directory)
    async with supervised(planned, directory):
        pid = run_of(directory).process("nats-1").pid
        assert run_of(directory).state == "ready"
    assert pid is not None
    assert not _alive(pid)
    assert not directory.run_file.exists()
    assert (tmp_path / "nats" / "nats-1" / "jetstream").is_dir()


async def test_three_servers_form_a_cluster(tmp_path: Path) -> None:
    """With three servers the streams have three copies, and a killed server is not missed."""
    directory = DataDirectory(tmp_path)
    planned = nats_plan(directory, nats=3)
    assert planned.replicas == 3
    async with supervised(planned, directory):
        settings = directory.settings_of_operator(run_of(directory))
        async with Bus.connect(settings, "test") as bus:
            info = await bus.api("STREAM.INFO.LOG_0", {})
            config = info["config"]
            assert isinstance(config, dict)
            assert config["num_replicas"] == 3
            leader = info["cluster"]
            assert isinstance(leader, dict)
            pid = run_of(directory).process(leader["leader"]).pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda: bus.api("STREAM.INFO.LOG_0", {}))


async def test_a_child_that_cannot_start_ends_everything(tmp_path: Path) -> None:
    """The error names the child and shows the end of its log; nothing is left running."""
    directory = DataDirectory(tmp_path)
    planned = nats_plan(directory)
    broken = ChildSpec(
        name="broken",
        kind="edge",
        command=("sh", "-c", "echo no such setting >&2; exit 1"),
        env={},
        url="http://127.0.0.1:9",
        ready_path="/readyz",
        log=directory.logs / "broken.log",
        stop_deadline_s=1,
    )
    with pytest.raises(ChildFailed, match=r"broken ends as soon as it is started(.|\n)*no such setting"):
        async with supervised(replace(planned, children=(*planned.children, broken)), directory):
            pass
    assert not directory.run_file.exists()


async def test_a_stubborn_child_is_killed_at_its_deadline(tmp_path: Path) -> None:
    """A child that ignores SIGTERM ends with SIGKILL, and the rest of the stop goes on."""
    directory = DataDirectory(tmp_path)
    planned = nats_plan(directory)
    server = planned.children[0]
    stubborn = replace(
        server,
        name="stubborn",
        kind="edge",
        command=("sh", "-c", "trap '' TERM; while :; do read -t 1 line; done"),
        log=directory.logs / "stubborn.log",
        stop_deadline_s=0.3,
    )
    async with supervised(replace(planned, children=(server, stubborn)), directory) as (_, said):
        pid = run_of(directory).process("stubborn").pid
    assert pid is not None
    assert not _alive(pid)
    assert any("did not end within 0.3 s" in line for line in said)
