"""The real NATS CLI against the running system: the streams are there, and people can read what they hold."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import shlex
import shutil
import struct
import subprocess
import termios
from collections.abc import Iterator

import pytest

from tests.support.local_system import LocalSystem

NATS = shutil.which("nats")

pytestmark = [
    pytest.mark.system,
    pytest.mark.natscli,
    pytest.mark.skipif(
        NATS is None,
        reason="no NATS CLI on PATH: go install github.com/nats-io/natscli/nats@v0.5.0",
    ),
]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """A running system with a message in it."""
    started = LocalSystem(tmp_path_factory.mktemp("natscli"), "--partitions", "1", "--durability", "process")
    started.start()
    started.parley("send", "general", "hello from the command line", "--create")
    yield started
    started.stop()


@pytest.fixture
def environment(system: LocalSystem) -> dict[str, str]:
    """What `eval "$(parley nats-env)"` sets."""
    exports = system.parley("nats-env").stdout.splitlines()
    pairs = (line.removeprefix("export ").split("=", 1) for line in exports)
    return os.environ | {name: shlex.split(value)[0] for name, value in pairs}


def _nats_in_terminal(environment: dict[str, str], *arguments: str) -> str:
    """`stream view` pages, and insists on a terminal for it."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    process = subprocess.Popen(
        [str(NATS), *arguments], env=environment, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    said = b""
    with contextlib.suppress(OSError):  # the end of a terminal is an error on Linux
        while chunk := os.read(leader, 65536):
            said += chunk
    os.close(leader)
    assert process.wait(30) == 0, said.decode(errors="replace")
    return said.decode()


def _nats(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [str(NATS), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_stream_ls_shows_the_logs(environment: dict[str, str]) -> None:
    """Logs and buckets are listed."""
    said = _nats(environment, "stream", "ls", "--all")
    for name in ("LOG_0", "KV_CHECKPOINTS", "KV_DIRECTORY", "KV_READS"):
        assert name in said


def test_stream_view_shows_readable_messages(environment: dict[str, str]) -> None:
    """A message's subject, kind, author and text can be read as they stand."""
    said = _nats_in_terminal(environment, "stream", "view", "LOG_0", "10")
    assert '"kind":"message.posted"' in said
    assert "hello from the command line" in said


def test_stream_info_shows_the_promises(environment: dict[str, str]) -> None:
    """Deletes are prohibited and the duplicate window is on."""
    said = _nats(environment, "stream", "info", "LOG_0", "--json")
    assert '"deny_delete": true' in said
    assert '"duplicate_window": 120000000000' in said


def test_events_cannot_be_forged_from_outside(environment: dict[str, str]) -> None:
    """Not even the operator can publish an event."""
    done = subprocess.run(
        [str(NATS), "pub", "channel.0.demo.general", "{}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "ermissions" in done.stdout + done.stderr
