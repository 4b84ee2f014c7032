"""Fixtures for everybody: a real NATS server, settings for it, and a bus connected to it."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as examples

from shared.bus import Bus
from shared.settings import CommonSettings
from tests.support.container import server_for_tests, wanted
from tests.support.nats import NatsServer
from tests.support.seaweed import Seaweed, new_archive

# Time is no property of what is tested: on a busy machine neither a deadline nor a slow draw is a failure.
examples.register_profile(
    "usual", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
examples.register_profile("thorough", examples.get_profile("usual"), max_examples=2000)
examples.load_profile("usual")


def pytest_configure() -> None:
    """A wrong `PARLEY_TEST_NATS` ends the run before its first test."""
    wanted()


def pytest_collection_finish() -> None:
    """What was collected stays: looking for garbage in it would take a sixteenth of the time."""
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """For `-n auto`: most tests wait most of the time, so that four fill two cores; whole systems do not."""
    return 2 if config.option.markexpr == "faults" else 4


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One server for a module's tests, with JetStream: `.kill()`, `.start()`, `.restart()`, `.url`."""
    yield from _served(tmp_path_factory.mktemp("nats"))


@pytest.fixture
def fresh_nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server of this test alone: no streams yet, every sequence from 1."""
    yield from _served(tmp_path / "nats")


@pytest.fixture(scope="session")
def bucket_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """A real S3 server for everybody, because it takes seconds to start. Use `new_archive()`."""
    server = Seaweed(tmp_path_factory.mktemp("seaweed"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def bucket(bucket_server: Seaweed, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an archive in that server, whose key everybody here and every child has."""
    for name, value in bucket_server.environ.items():
        monkeypatch.setenv(name, value)
    return new_archive()


@pytest.fixture
def settings(nats_server: NatsServer) -> CommonSettings:
    """Settings for `nats_server`: two partitions, so that both the shared and the separate case are met."""
    return _settings(nats_server)


@pytest.fixture
def fresh_settings(fresh_nats_server: NatsServer) -> CommonSettings:
    """Settings for `fresh_nats_server`."""
    return _settings(fresh_nats_server)


@pytest.fixture
async def bus(settings: CommonSettings) -> AsyncIterator[Bus]:
    """A bus on `nats_server`. Streams are shared by the module: use channels of your own."""
    async with Bus.connect(settings, "test") as connected:
        yield connected


@pytest.fixture
async def fresh_bus(fresh_settings: CommonSettings) -> AsyncIterator[Bus]:
    """A bus on `fresh_nats_server`: nobody else's streams are there."""
    async with Bus.connect(fresh_settings, "test") as connected:
        yield connected


def _served(directory: Path) -> Iterator[NatsServer]:
    """A server until the test or module is over: a process, or as `PARLEY_TEST_NATS` says a container."""
    server = server_for_tests(directory)
    server.start()
    yield server
    server.kill()


def _settings(server: NatsServer) -> CommonSettings:
    return CommonSettings(nats_url=server.url, partitions=2)
