"""Archivers that are killed at named points while people publish, and what must be true of what is left."""

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

import duckdb

from archiver.cache import Cache
from shared import events as e
from shared.archive_files import open_archive, pin, scan
from shared.archive_manifest import partition_dir
from shared.archive_rows import body_of, recorded_of
from shared.archive_store import Archive
from shared.bus import Bus
from shared.clock import rfc3339
from shared.erasure import Erasures, emptied, erasure_of
from shared.events import encode
from shared.ids import Seq, new_command_id
from shared.subjects import partition_of
from tests.support.archive import ALICE, NOW_MS, key_of, posted, read_logs, store
from tests.support.nats import NatsServer
from tests.support.waiting import eventually

CHANNELS = [key_of(name) for name in ("tea", "rust", "go", "p_1", "d_2", "news")]
"""Where `publish` says something."""


class Reader(threading.Thread):
    """Reads snapshots of the archive as fast as it can, and keeps what was wrong with any of them."""

    def __init__(self, archive: Archive) -> None:
        super().__init__(daemon=True)
        self.archive = archive
        self.snapshots = 0
        self.retries = 0
        """Snapshots whose files were gone before they were read: the newest manifest names others."""
        self.wrong: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.02):
            try:
                self._look()
            except (duckdb.IOException, duckdb.HTTPException):
                self.retries += 1

    def _look(self) -> None:
        pinned = pin(self.archive)
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
def reading(archive: Archive) -> Iterator[Reader]:
    """A reader beside the block; fails if it saw anything wrong."""
    reader = Reader(archive)
    reader.start()
    try:
        yield reader
    finally:
        reader.ended.set()
        reader.join(60)
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
        async with asyncio.timeout(120):
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
async def archivers(server: NatsServer, archive: Archive, **env: str) -> AsyncIterator[Archivers]:
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
            "PARLEY_ARCHIVE": str(archive),
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


async def publish(bus: Bus, rng: random.Random, events: int) -> None:
    """Messages into random channels, some of them garbage; some are erased, or expire."""
    for number in range(events):
        kind = rng.random()
        if kind > 0.99:
            await store(bus, rng.choice(CHANNELS), map(encode, expiring(rng.randrange(2, number + 3))))
            continue
        body = encode(posted(f"{number} \x00 ☕")) if kind < 0.9 else b"\xff garbage"
        if kind > 0.97:
            body = encode(erased(rng.randrange(1, 20)))
        await store(bus, rng.choice(CHANNELS), [body])


def erased(ref: int) -> e.MessageErased:
    """An erasure of a message."""
    return e.MessageErased(id=new_command_id(NOW_MS), author=ALICE, ref=Seq(ref))


def expiring(before: int) -> tuple[e.ChannelRetentionSet, e.MessagesExpired]:
    """What was said below a number expires, if it has not."""
    old = rfc3339(NOW_MS * 1000)
    kept = e.ChannelRetentionSet(id=new_command_id(NOW_MS), author=ALICE, days=1)
    return kept, e.MessagesExpired(
        id=new_command_id(NOW_MS), author=ALICE, since=Seq(1), before=Seq(before), older_than=old
    )


async def caught_up(bus: Bus, archive: Archive) -> None:
    """Wait until everything in the logs is in manifests, and what is to be erased has been."""
    logged = await read_logs(bus)
    everything = [one for all_ in logged.events.values() for one in all_]
    last = {
        partition_of(one.key, 2): one.stream_seq
        for one in sorted(everything, key=lambda one: one.stream_seq)
        if erasure_of(one) is not None
    }

    def is_done() -> bool:
        manifests = pin(archive).manifests
        erased = all(manifest.erased >= last.get(manifest.partition, 0) for manifest in manifests)
        return erased and sum(manifest.hi for manifest in manifests) == logged.total

    await eventually(is_done, within_s=90)


async def check_exactly_once(bus: Bus, archive: Archive, cache_dir: Path) -> None:
    """The archive holds the logs: every event once, byte for byte, with the same numbers and verdicts."""
    logged = await read_logs(bus)
    rows = list(scan(archive))
    assert len(rows) == logged.total
    archived: dict[tuple[str, str], int] = {}
    everything = sorted((one for all_ in logged.events.values() for one in all_), key=lambda one: one.seq)
    erasures = Erasures(it for one in everything if (it := erasure_of(one)) is not None)
    for row in rows:
        recorded = recorded_of(row)
        archived[recorded.key] = archived.get(recorded.key, 0) + 1
        assert recorded.seq == archived[recorded.key]
        said, body = logged.events[recorded.key][recorded.seq - 1], logged.bodies[recorded.key][row.seq - 1]
        if erasures.name(recorded.key, row.seq, row.kind, row.author, row.ref):
            said, body = emptied(said)
        assert (recorded, body_of(row)) == (said, body)
    check_cache(archive, cache_dir)


def check_cache(archive: Archive, cache_dir: Path) -> None:
    """No cache is ahead of its manifest, and each has exactly the ids and heads up to its position."""
    for manifest in pin(archive).manifests:
        path = cache_dir / f"{partition_dir(manifest.partition)}.sqlite"
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


async def finish(archiver: Archivers, bus: Bus, archive: Archive) -> None:
    """Let an archiver that nobody kills catch up, and stop it."""
    await archiver.start()
    await caught_up(bus, archive)
    archiver.signal(signal.SIGTERM)
    assert await archiver.ended() == 0
