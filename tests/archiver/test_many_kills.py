"""Deaths by the dozen, at every named point in turn, while everybody reads: minutes, so marked `faults`.

`KILLS=500 BUCKET_KILLS=50 just test -m faults tests/archiver/test_many_kills.py` takes a quarter of an hour.
"""

from __future__ import annotations

import os
import random
import signal
from functools import partial
from pathlib import Path

import pytest

from shared.archive_store import Archive
from shared.bus import Bus
from shared.events import encode
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from tests.support.archive import archiver_settings, created, running, store
from tests.support.killing import (
    CHANNELS,
    Archivers,
    archivers,
    caught_up,
    check_exactly_once,
    finish,
    publishing,
    reading,
)
from tests.support.nats import NatsServer
from tests.support.readers import found_in, tables
from tests.support.waiting import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

KILLS = int(os.environ.get("KILLS", "60"))
READER_KILLS = int(os.environ.get("READER_KILLS", "16"))
BUCKET_KILLS = int(os.environ.get("BUCKET_KILLS", "16"))

EVERYWHERE = [
    "data-written",
    "data-linked",
    "manifest-written",
    "manifest-linked",
    "cache-recording",
    "cache-recorded",
    "search-recording",
    "search-recorded",
    "part-written",
    "merge-written",
    "merge-published",
    "segment-emptied",
    "erasure-written",
    "erasure-published",
]
"""Points that an archiver passes wherever its archive is."""

RARE = ("part-", "merge-", "segment-", "erasure-")
"""Not passed with every commit."""

OF_A_READER = ["cache-recording", "manifest-taken-in", "search-recording", "search-recorded"]
IN_A_DIRECTORY = [
    *EVERYWHERE,
    "data-synced",
    "data-directory-synced",
    "manifest-synced",
    "manifest-directory-synced",
]


async def killed(archiver: Archivers, bus: Bus, points: list[str], kills: int, rng: random.Random) -> None:
    """Let one archiver after another die, at each point in turn, at its first or second pass."""
    for number in range(kills):
        point = points[number % len(points)]
        nth = 1 if point.startswith(RARE) else 1 + rng.randrange(2)
        print(f"{number}: {point} {nth}")
        await archiver.start(point, nth)
        async with publishing(bus, rng):
            assert await archiver.ended() == -signal.SIGKILL, f"{point} was not reached {nth} times"


async def test_deaths_in_a_directory(
    fresh_bus: Bus, fresh_nats_server: NatsServer, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """Every snapshot of every reader is right, and everything is there exactly once in the end."""
    archive = tmp_path / "archive"
    await _prepared(fresh_bus, fresh_settings, archive)
    async with archivers(fresh_nats_server, archive, PARLEY_ORPHAN_GRACE_S="10") as archiver:
        with reading(archive) as reader:
            await killed(archiver, fresh_bus, IN_A_DIRECTORY, KILLS, random.Random(7))
            await finish(archiver, fresh_bus, archive)
    print(f"{KILLS} kills, {reader.snapshots} snapshots, {reader.retries} read again")
    await check_exactly_once(fresh_bus, archive, archive / "cache")


async def test_deaths_in_a_bucket(
    fresh_bus: Bus,
    fresh_nats_server: NatsServer,
    fresh_settings: CommonSettings,
    bucket: str,
    tmp_path: Path,
) -> None:
    """The same; a reader whose files were replaced reads again, and never sees a wrong page."""
    cache = tmp_path / "cache"
    await _prepared(fresh_bus, fresh_settings, bucket, archive_cache=str(cache))
    env = {"PARLEY_ORPHAN_GRACE_S": "10", "PARLEY_ARCHIVE_CACHE": str(cache)}
    async with archivers(fresh_nats_server, bucket, **env) as archiver:
        with reading(bucket) as reader:
            await killed(archiver, fresh_bus, EVERYWHERE, BUCKET_KILLS, random.Random(8))
            await finish(archiver, fresh_bus, bucket)
    print(f"{BUCKET_KILLS} kills, {reader.snapshots} snapshots, {reader.retries} read again")
    await check_exactly_once(fresh_bus, bucket, cache)


async def test_deaths_of_a_reader(
    fresh_bus: Bus, fresh_nats_server: NatsServer, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """What it derives is what the writer derives in the end, and it never stands in that one's way."""
    archive, cache = tmp_path / "archive", tmp_path / "reader"
    await _prepared(fresh_bus, fresh_settings, archive)
    settings = archiver_settings(fresh_settings, archive, flush_events=50, flush_interval_s=0.1)
    env = {
        "PARLEY_ARCHIVER_READER": "true",
        "PARLEY_ARCHIVE_CACHE": str(cache),
        "PARLEY_READER_POLL_S": "0.05",
        "PARLEY_FLUSH_EVENTS": "10000",
    }
    async with (
        running(fresh_bus, settings) as writer,
        archivers(fresh_nats_server, archive, **env) as reader,
    ):
        await killed(reader, fresh_bus, OF_A_READER, READER_KILLS, random.Random(9))
        assert not writer.task.done()
        await caught_up(fresh_bus, archive)
        await reader.start()
        for partition in range(2):
            for derived in (tables, found_in):
                own = partial(derived, archive / "cache", partition)
                await eventually(
                    lambda own=own, derived=derived, partition=partition: own() == derived(cache, partition),
                    within_s=120,
                    every_s=0.5,
                )
        reader.signal(signal.SIGTERM)
        assert await reader.ended() == 0
    await check_exactly_once(fresh_bus, archive, cache)


async def _prepared(bus: Bus, settings: CommonSettings, archive: Archive, **fields: object) -> None:
    """An archive that exists, of channels that exist."""
    await ensure_streams(bus, settings)
    async with running(bus, archiver_settings(settings, archive, **fields)):
        for key in CHANNELS:
            await store(bus, key, [encode(created())])
