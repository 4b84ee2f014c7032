"""What the tests of buses share."""

from __future__ import annotations

import pytest

from shared.bus import Bus
from shared.settings import CommonSettings
from shared.streams import ensure_streams


@pytest.fixture
async def log(fresh_bus: Bus, fresh_settings: CommonSettings) -> Bus:
    """A bus whose streams exist."""
    await ensure_streams(fresh_bus, fresh_settings)
    return fresh_bus
