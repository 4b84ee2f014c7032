"""The archiver, assembled: ingest and answers of its partitions, over shared threads and one DuckDB."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from archiver.api import Api
from archiver.duck import Duck
from archiver.history import History
from archiver.ingest import Ingest
from archiver.parquet import Reached, write_durably, write_empty_segment
from archiver.partition import PartitionArchive
from archiver.settings import ArchiverSettings
from archiver.threads import Threads
from shared.archive_files import ARCHIVE_SQL, archive_sql
from shared.bus import Bus
from shared.health import Health
from shared.ids import Partition
from shared.streams import Layout

DISK_WORKERS = 2
LOOKUP_WORKERS = 2
QUERIES_WAITING_MAX = 128
WATCH_EVERY_S = 0.5


class Archiver:
    """Runs until `stop`; then everything hot is committed and `run` returns."""

    def __init__(
        self,
        bus: Bus,
        layout: Layout,
        settings: ArchiverSettings,
        health: Health,
        reached: Reached = lambda _: None,
    ) -> None:
        self._bus = bus
        self._layout = layout
        self._settings = settings
        self._health = health
        self._reached = reached
        self._ingests: list[Ingest] = []
        self._stopping = False
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Recover, answer, ingest. Raises when the process must end: fenced, or the log is not ours."""
        partitions = self._settings.own_partitions(self._layout.partitions)
        self._health.expect("nats", *(f"archive {partition}" for partition in partitions))
        try:
            async with self._resources() as (disk, lookups, duck), asyncio.TaskGroup() as around:
                watching = around.create_task(self._watch())
                await disk.run(self._prepare)
                async with asyncio.TaskGroup() as tasks:
                    for partition in partitions:
                        tasks.create_task(self._partition(partition, disk, lookups, duck))
                watching.cancel()
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Commit what is hot and wait until that is done."""
        self._stopping = True
        for ingest in self._ingests:
            ingest.stop()
        await self._ended.wait()

    async def _partition(self, partition: Partition, disk: Threads, lookups: Threads, duck: Duck) -> None:
        settings = self._settings
        epoch = self._layout.epochs[partition]
        archive = PartitionArchive(settings.archive_dir, partition, epoch, self._reached)
        await disk.run(archive.open)
        try:
            ingest = Ingest(archive, self._bus, settings, self._health, disk=disk, lookups=lookups)
            history = History(archive, duck, lookups, settings.query_timeout_s)
            self._ingests.append(ingest)
            subscriptions = await Api(ingest, history, lookups).serve(self._bus)
            self._health.set(f"archive {partition}", True, "following")
            if self._stopping:
                ingest.stop()
            await ingest.run()
            for subscription in subscriptions:
                await subscription.unsubscribe()
        finally:
            await disk.run(archive.close)

    async def _watch(self) -> None:
        while True:
            self._health.set("nats", self._bus.connected, "not connected to NATS")
            await asyncio.sleep(WATCH_EVERY_S)

    def _prepare(self) -> None:
        directory = self._settings.archive_dir
        directory.mkdir(parents=True, exist_ok=True)
        write_empty_segment(directory)
        write_durably(directory / ARCHIVE_SQL, archive_sql(directory).encode(), lambda _: None)

    @contextlib.asynccontextmanager
    async def _resources(self) -> AsyncIterator[tuple[Threads, Threads, Duck]]:
        settings = self._settings
        disk, lookups = Threads("disk", DISK_WORKERS), Threads("lookup", LOOKUP_WORKERS)
        duck = Duck(
            workers=settings.query_workers,
            memory_limit=settings.query_memory,
            waiting_max=QUERIES_WAITING_MAX,
        )
        try:
            yield disk, lookups, duck
        finally:
            for pool in (lookups, duck, disk):
                await asyncio.to_thread(pool.close)
