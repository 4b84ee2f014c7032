"""A system of a module's own: what is killed in it would be missed by others."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.stack import Stack, running_stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Two edges, and everything that they need."""
    async with running_stack(tmp_path_factory.mktemp("stack"), edges=2) as running:
        yield running
