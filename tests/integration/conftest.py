"""A whole system for tests that go through the front door, started once for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shared.bus import Bus
from shared.settings import CommonSettings
from tests.support.stack import PARTITIONS, Stack, running_stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Two edges with ordinary settings. Use channels and users of your own."""
    async with running_stack(tmp_path_factory.mktemp("stack"), edges=2) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def log_bus(stack: Stack) -> AsyncIterator[Bus]:
    """A bus on the system's NATS."""
    settings = CommonSettings(nats_url=stack.nats.url, partitions=int(PARTITIONS))
    async with Bus.connect(settings, "test") as bus:
        yield bus
