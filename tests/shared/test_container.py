"""A NATS server in a container is as good as a process: all other tests may run against it.

`PARLEY_TEST_NATS=container just test` does that; this one always tries.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from shared.bus import Bus
from shared.ids import Partition
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import log_stream
from tests.support import container
from tests.support.nats import NatsServer
from tests.support.waiting import eventually

needs_docker = pytest.mark.docker
ROOT = Path(__file__).parents[2]

OWNER = """
import signal, sys, time
from pathlib import Path
from tests.support.container import ContainerServer

signal.signal(signal.SIGINT, signal.default_int_handler)  # or ignored, in a shell's background
ContainerServer(Path(sys.argv[1])).start()
print("started", flush=True)
time.sleep(600)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """A container of this test alone."""
    _need_engine()
    server = container.ContainerServer(tmp_path / "nats")
    server.start()
    yield server
    server.kill()


@needs_docker
@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_what_is_stored_survives_the_container(server: NatsServer, end: str) -> None:
    """Streams and messages are there again, in the same epoch, and the same id is still the same message."""
    settings = CommonSettings(nats_url=server.url, partitions=2)
    async with Bus.connect(settings, "test") as bus:
        before = await ensure_streams(bus, settings)
        first = await bus.commit("channel.0.w.c", b"a", msg_id="c/1")
        (server.kill if end == "kill" else server.stop)()
        await eventually(lambda: not bus.connected)
        server.start()
        await eventually(lambda: bus.connected)
        assert (await ensure_streams(bus, settings)).epochs == before.epochs
        again = await bus.commit("channel.0.w.c", b"a", msg_id="c/1")
        assert (again.stream_seq, again.duplicate) == (first.stream_seq, True)
        stored = await bus.stored(log_stream(Partition(0)), first.stream_seq)
        assert stored is not None
        assert stored.body == b"a"


@needs_docker
def test_its_process_can_be_watched_and_ended_while_it_is_paused(server: NatsServer) -> None:
    """The process id is that of the server on this machine, and a paused one can be killed."""
    pid = server.pid
    assert b"nats-server" in Path(f"/proc/{pid}/cmdline").read_bytes()
    server.pause()
    server.restart()
    assert server.pid != pid
    assert not Path(f"/proc/{pid}").exists()


@needs_docker
def test_one_that_does_not_start_says_why_and_is_gone(tmp_path: Path) -> None:
    """A wrong configuration is named, and the container removed."""
    _need_engine()
    config = tmp_path / "nats.conf"
    config.write_text("jetstream: perhaps")
    wrong = container.ContainerServer(tmp_path / "nats", config=config)
    with pytest.raises(RuntimeError, match="perhaps"):
        wrong.start()
    assert str(tmp_path) not in _mounted()


@needs_docker
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
async def test_no_container_outlives_the_tests(tmp_path: Path, end: signal.Signals) -> None:
    """Whoever started it is interrupted or killed: its container goes."""
    _need_engine()
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER, str(tmp_path / "nats")),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert owner.stdout is not None
    assert await owner.stdout.readline() == b"started\n"
    assert str(tmp_path) in _mounted()
    os.killpg(owner.pid, end)
    await owner.wait()
    await eventually(lambda: str(tmp_path) not in _mounted(), within_s=60, every_s=0.2)


def test_where_no_engine_is_the_reason_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What needs one is skipped for it."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    assert "no Docker engine answers" in container.missing.__wrapped__()
    monkeypatch.setenv("PARLEY_TEST_NATS", "container")
    monkeypatch.setattr(container, "missing", container.missing.__wrapped__)
    with pytest.raises(pytest.skip.Exception, match="no Docker engine answers"):
        container.server_for_tests(tmp_path)


def test_a_kind_of_server_that_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt wish is no wish for the usual one."""
    monkeypatch.setenv("PARLEY_TEST_NATS", "contaner")
    with pytest.raises(pytest.UsageError, match="one of process, container"):
        container.wanted()


def _need_engine() -> None:
    """Skips where no container can be."""
    if reason := container.missing():
        pytest.skip(reason)


def _mounted() -> str:
    """The directories of all containers, running or not."""
    client = docker.from_env()
    try:
        return str([one.attrs["Mounts"] for one in client.containers.list(all=True, ignore_removed=True)])
    finally:
        client.close()
