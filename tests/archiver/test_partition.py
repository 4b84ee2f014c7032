"""The commit protocol under SIGKILL: whatever line the process dies on, every event is there exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from archiver.cache import Cache
from shared import events as e
from shared.archive_files import open_archive, pin, scan
from shared.archive_manifest import partition_dir
from shared.archive_rows import body_of, recorded_of
from shared.bus import Bus
from shared.erasure import emptied, erasure_of
from shared.events import encode
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from tests.support.archive import archiver_settings, created, key_of, posted, read_logs, running, store, taken
from tests.support.nats import NatsServer
from tests.support.waiting import eventually

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
CHANNELS = [key_of(name) for name in ("tea", "rust", "go", "p_1", "d_2", "news")]


class Reader(threading.Thread):
    """Reads snapshots of the archive as fast as it can, and keeps what was wrong with any of them."""

    def __init__(self, directory: Path) -> None:
        super().__init__(daemon=True)
        self.directory = directory
        self.snapshots = 0
        self.wrong: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.02):
            pinned = pin(self.directory)
            with open_archive(pinned) as db:
                total, distinct = db.sql(
                    "SELECT count(*), count(DISTINCT (workspace, channel, seq)) FROM events"
                ).fetchall()[0]
                sparse = db.sql(
                    "SELECT channel FROM events GROUP BY workspace, channel"
                    " HAVING min(seq) <> 1 OR max(seq) <> count(*)"
                ).fetchall()
            expected = sum(manifest.hi for manifest in pinned.manifests)
            self.snapshots += 1
            if (total, distinct, sparse) != (expected, expected, []):
                self.wrong.append(f"{total} rows, {distinct} distinct, {expected} in manifests, {sparse}")


@contextlib.contextmanager
def reading(directory: Path) -> Iterator[Reader]:
    """A reader beside the block; fails if it saw anything wrong."""
    reader = Reader(directory)
    reader.start()
    try:
        yield reader
    finally:
        reader.ended.set()
        reader.join(10)
    assert reader.wrong == []
    assert reader.snapshots > 0


class Archivers:
    """Archivers as processes, one after another."""

    def __init__(self, starter: asyncio.subprocess.Process) -> None:
        self._starter = starter
        self.pid = 0

    async def start(self, point: str = "", nth: int = 1) -> None:
        """Start one that dies at the nth pass of this point."""
        assert self._starter.stdin is not None
        self._starter.stdin.write(f"{point} {nth}\n".encode())
        self.pid = await self._number()

    async def ended(self) -> int:
        """Its exit code, negative for a signal."""
        async with asyncio.timeout(30):
            code = await self._number()
        self.pid = 0
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def _number(self) -> int:
        assert self._starter.stdout is not None
        return int(await self._starter.stdout.readline())


@contextlib.asynccontextmanager
async def archivers(server: NatsServer, directory: Path, **env: str) -> AsyncIterator[Archivers]:
    """Archivers on this server and directory; the last one is killed if it still runs."""
    starter = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.archiver_child",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "PARLEY_NATS_URL": server.url,
            "PARLEY_PARTITIONS": "2",
            "PARLEY_ARCHIVE": str(directory),
            "PARLEY_FLUSH_EVENTS": "25",
            "PARLEY_FLUSH_INTERVAL_S": "0.1",
            "PARLEY_LOG_LEVEL": "warning",
            **env,
        },
    )
    made = Archivers(starter)
    try:
        yield made
    finally:
        made.signal(signal.SIGKILL)
        starter.kill()
        await starter.wait()


@pytest.fixture
async def archived(fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path) -> Path:
    """An archive that exists and is empty, of logs that exist."""
    await ensure_streams(fresh_bus, fresh_settings)
    directory = tmp_path / "archive"
    async with running(fresh_bus, archiver_settings(fresh_settings, directory)):
        pass
    return directory


async def publish(bus: Bus, rng: random.Random, events: int) -> None:
    """Messages into random channels, some of them garbage."""
    for number in range(events):
        kind = rng.random()
        body = encode(posted(f"{number} \x00 ☕")) if kind < 0.9 else b"\xff garbage"
        if kind > 0.97:
            body = encode(erased(rng.randrange(1, 20)))
        await store(bus, rng.choice(CHANNELS), [body])


def erased(ref: int) -> e.MessageErased:
    """An erasure of a message."""
    return e.MessageErased.model_validate(posted("x").model_dump(include={"id", "author"}) | {"ref": ref})


async def caught_up(bus: Bus, directory: Path) -> None:
    """Wait until everything in the logs is in manifests."""
    logged = await read_logs(bus)
    await eventually(lambda: sum(m.hi for m in pin(directory).manifests) == logged.total)


async def check_exactly_once(bus: Bus, directory: Path) -> None:
    """The archive holds the logs: every event once, byte for byte, with the same numbers and verdicts."""
    logged = await read_logs(bus)
    rows = list(scan(directory))
    assert len(rows) == logged.total
    archived: dict[tuple[str, str], int] = {}
    for row in rows:
        recorded = recorded_of(row)
        archived[recorded.key] = archived.get(recorded.key, 0) + 1
        assert recorded.seq == archived[recorded.key]
        said, body = logged.events[recorded.key][recorded.seq - 1], logged.bodies[recorded.key][row.seq - 1]
        erasures = [it for one in logged.events[recorded.key] if (it := erasure_of(one)) is not None]
        if any(it.names(row.seq, row.kind, row.author, row.ref) for it in erasures):
            said, body = emptied(said)
        assert (recorded, body_of(row)) == (said, body)
    check_cache(directory)


def check_cache(directory: Path) -> None:
    """No cache is ahead of its manifest, and each has exactly the ids and heads up to its position."""
    for manifest in pin(directory).manifests:
        path = directory / "cache" / f"{partition_dir(manifest.partition)}.sqlite"
        cache = Cache(path, manifest.epoch, manifest.hi)
        assert cache.position == manifest.hi
        cache.close()


@contextlib.asynccontextmanager
async def publishing(bus: Bus, rng: random.Random) -> AsyncIterator[None]:
    """Publishes during the block, 50 messages at a time: how many commits they become is a matter of time."""
    over = asyncio.Event()

    async def run() -> None:
        while not over.is_set():
            await publish(bus, rng, 50)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await over.wait()

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        over.set()
        await task


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
    await check_exactly_once(fresh_bus, archived)


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
    await check_exactly_once(fresh_bus, archived)


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
    await check_exactly_once(fresh_bus, archived)


async def finish(archiver: Archivers, bus: Bus, directory: Path) -> None:
    """Let an archiver that nobody kills catch up, and stop it."""
    await archiver.start()
    await caught_up(bus, directory)
    archiver.signal(signal.SIGTERM)
    assert await archiver.ended() == 0
