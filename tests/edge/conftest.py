"""A whole system for the tests of the edge's shell: started once, used through the front door."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

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
        PARLEY_HEARTBEAT_S="0.6",
        PARLEY_HELLO_DEADLINE_S="0.5",
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
