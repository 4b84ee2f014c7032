"""`parley new-epoch`: all of NATS is from a backup, and only the archive knows that something is lost."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from tests.support.local_system import LocalSystem
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.faults, pytest.mark.timeout(500)]


async def test_a_backup_of_everything_in_nats(tmp_path: Path) -> None:
    """The archiver waits and says what to do; the command does it; `verify` names what was lost."""
    system = LocalSystem(
        tmp_path, *("--partitions", "1", "--durability", "process", "--env.PARLEY_FLUSH_INTERVAL_S", "0.5")
    )
    system.start()
    system.parley("send", "tea", "kept", "--create")
    assert (
        "--partition 4: the partitions are 0 to 0"
        in system.parley("new-epoch", "--partition", "4", check=False).stderr
    )
    assert system.parley("verify").returncode == 0
    system.stop()
    store = system.data.nats / "nats-1"
    backup = tmp_path / "backup"
    shutil.copytree(store, backup)
    system.start()
    system.parley("send", "tea", "lost")
    assert system.parley("verify").returncode == 0
    system.stop()
    shutil.rmtree(store)
    shutil.copytree(backup, store)
    starting = asyncio.create_task(asyncio.to_thread(system.start))

    async def begun() -> bool:
        reasons = "".join(path.read_text() for path in system.data.logs.glob("archiver*.log"))
        return "archive.log_regressed" in reasons and system.run() is not None

    await eventually(begun, within_s=50, every_s=0.5)
    assert "in place of" in (await asyncio.to_thread(system.parley, "new-epoch", "--partition", "0")).stdout
    await starting
    said = system.parley("verify", check=False)
    assert said.returncode == 1
    assert "1 event lost with epoch" in said.stdout
    past = [json.loads(line) for line in system.parley("history", "tea", "--json").stdout.splitlines()]
    assert [event.get("text") for event in past] == [None, "kept"]
    system.parley("send", "tea", "again")
    (aside,) = (Path(system.data.archive) / "epochs").iterdir()
    shutil.rmtree(aside)
    assert system.parley("verify").returncode == 0
    system.stop()
