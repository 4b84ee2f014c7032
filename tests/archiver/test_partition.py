"""The commit protocol under SIGKILL: whatever line the process dies on, every event is there exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from pathlib import Path

import pytest

from shared.archive_files import pin
from shared.bus import Bus
from shared.events import encode
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from tests.support.archive import archiver_settings, created, running, store, taken
from tests.support.killing import (
    CHANNELS,
    archivers,
    check_exactly_once,
    finish,
    publish,
    publishing,
    reading,
)
from tests.support.nats import NatsServer

POINTS = [
    # The first pass of each manifest point is the takeover of a partition at the start.
    ("manifest-written", 1),
    ("manifest-linked", 2),
    ("data-written", 1),
    ("data-synced", 2),
    ("data-linked", 1),
    ("data-directory-synced", 3),
    ("manifest-written", 4),
    ("manifest-linked", 3),
    ("manifest-directory-synced", 5),
    ("cache-recording", 1),
    ("cache-recording", 3),
    ("cache-recorded", 2),
    # From here on there are runs enough for one to be merged with every few commits.
    ("part-written", 1),
    ("merge-written", 1),
    ("merge-published", 1),
    ("part-written", 2),
    ("merge-written", 2),
    ("merge-published", 2),
    ("segment-emptied", 1),
    ("erasure-written", 1),
    ("erasure-published", 1),
    ("segment-emptied", 2),
    ("erasure-written", 2),
]


@pytest.fixture
async def archived(fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path) -> Path:
    """An archive that exists and is empty, of logs that exist."""
    await ensure_streams(fresh_bus, fresh_settings)
    directory = tmp_path / "archive"
    async with running(fresh_bus, archiver_settings(fresh_settings, directory)):
        pass
    return directory


async def test_death_at_every_point_of_the_protocol(
    fresh_bus: Bus, fresh_nats_server: NatsServer, archived: Path
) -> None:
    """Killed at each named point, the archive is right for every reader, and complete at the end."""
    rng = random.Random(20261125)
    for key in CHANNELS:
        await store(fresh_bus, key, [encode(created())])
    async with archivers(fresh_nats_server, archived) as archiver:
        with reading(archived):
            for point, nth in POINTS:
                await archiver.start(point, nth)
                async with publishing(fresh_bus, rng):
                    assert await archiver.ended() == -signal.SIGKILL, f"{point} was not reached {nth} times"
            await finish(archiver, fresh_bus, archived)
    await check_exactly_once(fresh_bus, archived, archived / "cache")


async def test_death_at_random_moments(fresh_bus: Bus, fresh_nats_server: NatsServer, archived: Path) -> None:
    """Killed at any moment, also while it recovers, the archive loses and doubles nothing."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    async with archivers(fresh_nats_server, archived) as archiver:
        with reading(archived):
            for _ in range(4):
                await archiver.start()
                publishing = asyncio.create_task(publish(fresh_bus, rng, 200))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(rng.uniform(0.05, 1.0)):
                        await asyncio.Event().wait()
                archiver.signal(signal.SIGKILL)
                assert await archiver.ended() == -signal.SIGKILL
                await publishing
            await finish(archiver, fresh_bus, archived)
    await check_exactly_once(fresh_bus, archived, archived / "cache")


async def test_sigterm_commits_what_is_hot(
    fresh_bus: Bus, fresh_nats_server: NatsServer, archived: Path
) -> None:
    """An orderly stop leaves nothing in memory, however long the flush interval is."""
    env = {"PARLEY_FLUSH_INTERVAL_S": "600", "PARLEY_FLUSH_EVENTS": "1000000"}
    async with archivers(fresh_nats_server, archived, **env) as archiver:
        await archiver.start()
        await publish(fresh_bus, random.Random(1), 100)
        await taken(fresh_bus)
        assert sum(manifest.hi for manifest in pin(archived).manifests) == 0
        archiver.signal(signal.SIGTERM)
        assert await archiver.ended() == 0
    await check_exactly_once(fresh_bus, archived, archived / "cache")
