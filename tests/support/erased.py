"""A running system that has erased something: its logs may be trimmed soon, and its proof finds nothing."""

from __future__ import annotations

import asyncio

from infra.erasure.proof import check_erased
from shared.bus import Bus
from shared.ids import Partition
from shared.subjects import log_stream
from tests.support.local_system import LocalSystem
from tests.support.waiting import eventually

WINDOW_NS = 2_000_000_000


async def forgetful(bus: Bus, partitions: int) -> None:
    """Let the logs remember ids for two seconds only, so that they may be trimmed."""
    for number in range(partitions):
        stream = log_stream(Partition(number))
        config = (await bus.api(f"STREAM.INFO.{stream}", {}))["config"]
        assert isinstance(config, dict)
        await bus.api(f"STREAM.UPDATE.{stream}", config | {"duplicate_window": WINDOW_NS})


async def gone(system: LocalSystem, bus: Bus, partitions: int, secret: str) -> None:
    """Wait until the proof finds nothing; then it says so on the command line as well."""
    found: list[str] = []

    async def nothing() -> bool:
        report = await check_erased(
            bus, system.data.archive, system.data.path, partitions, [secret], wait_s=180, note=lambda _: None
        )
        found[:] = report.named
        return report.clean

    try:
        await eventually(nothing, within_s=420, every_s=5.0)
    except AssertionError:
        raise AssertionError(found) from None
    said = await asyncio.to_thread(system.parley, "verify", "--erased", secret)
    assert "✓ nothing is left of them" in said.stdout
