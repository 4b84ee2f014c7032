"""`parley up` and its sisters: the real processes, killed and stopped as a person would."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from infra.local.probe import readiness
from infra.nats.permissions import EDGE
from shared.bus import Bus
from shared.ids import ChannelId, ChannelKey, WorkspaceId
from shared.settings import CommonSettings
from shared.subjects import channel_subject, partition_of
from tests.support.local_system import LocalSystem
from tests.support.waiting import eventually

pytestmark = pytest.mark.system

PARTITIONS = 2
CHILDREN = ("nats-1", "sequencer", "archiver", "edge-1", "edge-2")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """A running system with two edges."""
    started = LocalSystem(
        tmp_path_factory.mktemp("system"),
        *("--edges", "2", "--partitions", str(PARTITIONS), "--durability", "process"),
    )
    started.start()
    yield started
    started.stop()


@pytest.mark.parametrize("name", CHILDREN)
async def test_kill_9_of_any_child_heals(system: LocalSystem, name: str) -> None:
    """Another process takes its place on the same address, and everything is ready again."""
    before = system.pid(name)
    os.kill(before, signal.SIGKILL)
    await eventually(lambda: _replaced(system, name, before))
    await eventually(lambda: _all_ready(system))


def _replaced(system: LocalSystem, name: str, before: int) -> bool:
    run = system.run()
    return run is not None and run.process(name).pid not in {None, before}


async def _all_ready(system: LocalSystem) -> bool:
    run = system.run()
    assert run is not None
    answers = [await readiness(process.url, process.ready_path) for process in run.processes]
    return all(answer.ready for answer in answers)


async def test_status_shows_what_runs(system: LocalSystem) -> None:
    """Every process with its readiness, every log with the positions behind it."""
    await eventually(lambda: _all_ready(system))
    said = system.parley("status").stdout
    run = system.run()
    assert run is not None
    for name in (*CHILDREN, "LOG_0", "LOG_1", f"page {run.page}/"):
        assert name in said


async def test_the_edges_share_the_address_of_the_page(system: LocalSystem) -> None:
    """It is the one that is printed, also for the first users; each edge has another one for itself."""
    await eventually(lambda: _all_ready(system))
    run = system.run()
    assert run is not None
    assert run.page not in run.edges
    printed = re.findall(r"^  (?:page|as \w+) +(http://[^/]+)/", system.said.read_text(), re.MULTILINE)
    assert printed == [run.page] * 3
    for address in (run.page, *run.edges):
        assert (await readiness(address, "/")).ready
    assert json.loads(system.parley("status", "--json").stdout)["page"] == run.page


async def test_status_as_json_is_one_object(system: LocalSystem) -> None:
    """The same for programs: processes with their readiness, logs with leader and positions."""
    await eventually(lambda: _all_ready(system))
    said = json.loads(system.parley("status", "--json").stdout)
    assert [(process["name"], process["ready"]) for process in said["processes"]] == [
        (name, True) for name in CHILDREN
    ]
    assert [(log["stream"], log["leader"], log["replicas"]) for log in said["partitions"]] == [
        (f"LOG_{partition}", "nats-1", []) for partition in range(PARTITIONS)
    ]
    assert {"last", "numbered", "archived", "applied", "searchable"} <= said["partitions"][0].keys()


def test_a_second_up_in_the_same_directory_refuses(system: LocalSystem) -> None:
    """One line that says what to do, and the first one goes on."""
    refused = system.parley("up", "--port", "0", check=False)
    assert refused.returncode == 1
    assert "already runs" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert system.run() is not None


def test_token_is_signed_with_the_secret_of_the_directory(system: LocalSystem) -> None:
    """Its claims are those that were asked for."""
    options = ("--user", "ada", "--workspace", "acme", "--scope", "import", "--ttl", "1h")
    token = system.parley("token", *options).stdout.strip()
    claims = jwt.decode(token, system.data.credentials().jwt, algorithms=["HS256"])
    assert (claims["sub"], claims["ws"], claims["scope"]) == ("ada", "acme", "import")
    assert claims["exp"] - claims["iat"] == 3600


def test_secrets_stay_with_their_owner(system: LocalSystem) -> None:
    """Credentials and server configuration are readable by the owner only."""
    for path in (system.data.credentials_file, system.data.nats / "nats-1.conf"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_commands_without_a_system_say_what_to_do(tmp_path: Path) -> None:
    """One line on stderr, exit code 1, no traceback."""
    nowhere = LocalSystem(tmp_path)
    for command in ("status", "token --user ada", "nats-env"):
        done = nowhere.parley(*command.split(), check=False)
        assert done.returncode == 1
        assert "parley up" in done.stderr
        assert "Traceback" not in done.stderr
    assert "does not run" in nowhere.parley("down").stdout


async def test_ctrl_c_stops_in_order_and_keeps_everything(tmp_path: Path) -> None:
    """Edges end first and NATS last, exit code 0; what was acknowledged is there at the next start."""
    system = LocalSystem(tmp_path, "--partitions", str(PARTITIONS), "--durability", "process")
    system.start()
    stored = await _store(system)
    pids = {name: system.pid(name) for name in ("edge-1", "archiver", "sequencer", "nats-1")}
    system.signal(signal.SIGINT)
    ended: list[str] = []
    while len(ended) < len(pids):
        ended += [name for name, pid in pids.items() if name not in ended and not _alive(pid)]
        await asyncio.sleep(0.005)
    assert ended == list(pids)
    assert system.wait() == 0
    assert not system.data.running
    system.start()
    assert await _last(system) == stored
    system.parley("down")
    assert system.wait() == 0


async def test_children_do_not_outlive_their_supervisor(tmp_path: Path) -> None:
    """kill -9 of the supervisor ends every child, and the next start finds the place free."""
    system = LocalSystem(tmp_path, "--partitions", str(PARTITIONS), "--durability", "process")
    system.start()
    run = system.run()
    assert run is not None
    pids = [process.pid for process in run.processes if process.pid is not None]
    system.signal(signal.SIGKILL)
    await eventually(lambda: not any(_alive(pid) for pid in pids))
    system.wait()
    system.start()
    system.stop()


def _subject() -> str:
    key = ChannelKey(WorkspaceId("demo"), ChannelId("general"))
    return channel_subject(partition_of(key, PARTITIONS), key)


def _as_edge(system: LocalSystem) -> CommonSettings:
    run = system.run()
    assert run is not None
    password = system.data.credentials().nats[EDGE]
    return CommonSettings(
        nats_url=run.nats_url, nats_user=EDGE, nats_password=password, partitions=PARTITIONS
    )


async def _store(system: LocalSystem) -> int:
    async with Bus.connect(_as_edge(system), "test") as bus:
        return (await bus.commit(_subject(), b"{}", msg_id="1")).stream_seq


async def _last(system: LocalSystem) -> int | None:
    async with Bus.connect(_as_edge(system), "test") as bus:
        found = await bus.last(f"LOG_{_subject().split('.')[1]}", _subject())
    return found.stream_seq if found else None


def _alive(pid: int) -> bool:
    """A zombie has ended; a process may also end between the opening of its file and the reading."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
