"""The edge's shell: a whole system, started once, and parts of an edge on the bus of a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from edge.archive import Archive
from edge.feeds import FeedLimits, Feeds
from shared.bus import Bus
from shared.settings import CommonSettings
from shared.streams import Layout, ensure_streams
from tests.support.nats import NatsServer
from tests.support.recording import Edge, publisher_of
from tests.support.services import ServiceProcess
from tests.support.stack import Stack, running_stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Two edges with ordinary settings. Use channels and users of your own."""
    async with running_stack(tmp_path_factory.mktemp("stack"), edges=2) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def quick(stack: Stack) -> str:
    """The address of an edge whose clocks run fast and whose limits are low."""
    await stack.add_edge(
        PARLEY_HEARTBEAT_S="2",
        PARLEY_HELLO_DEADLINE_S="3",
        PARLEY_TOKEN_GRACE_S="0.5",
        PARLEY_STALL_LIMIT_S="1",
        PARLEY_USER_RATE="5",
        PARLEY_USER_BURST="20",
        PARLEY_TEXT_BYTES_MAX="1000",
        PARLEY_TYPING_MEMBERS_MAX="2",
        PARLEY_REPLAY_EVENTS_MAX="20",
        PARLEY_RING_ENTRIES_MAX="10",
        PARLEY_ORIGINS="https://chat.example",
        PARLEY_DRAIN_S="0.2",
    )
    return stack.address(len(stack.edges) - 1)


@pytest.fixture
async def layout(bus: Bus, settings: CommonSettings) -> Layout:
    """The streams."""
    return await ensure_streams(bus, settings)


@pytest.fixture
async def feeds(bus: Bus, layout: Layout) -> AsyncIterator[Feeds]:
    """The feeds of one edge."""
    async with Feeds(bus, layout, FeedLimits(linger_s=60, ring_entries_max=50)) as feeds:
        yield feeds


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def archiver(
    nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServiceProcess]:
    """A real archiver for the module."""
    folder: Path = tmp_path_factory.mktemp("archive")
    process = ServiceProcess(
        "archiver",
        folder / "archiver.log",
        PARLEY_NATS_URL=nats_server.url,
        PARLEY_PARTITIONS="2",
        PARLEY_ARCHIVE=str(folder / "archive"),
        PARLEY_FLUSH_INTERVAL_S="0.5",
    )
    await process.start()
    yield process
    process.kill()


@pytest.fixture
async def edge(bus: Bus, layout: Layout) -> AsyncIterator[Edge]:
    """An edge's publishing side; tests of the late path also ask for `archiver`."""
    async with Feeds(bus, layout, FeedLimits(ring_entries_max=30)) as feeds:
        archive = Archive(bus, layout.partitions, feeds.epochs.of)
        yield Edge(bus, feeds, archive, publisher_of(bus, feeds, archive))
