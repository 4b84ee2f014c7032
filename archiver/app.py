"""The archiver, assembled: ingest and answers of its partitions, over shared threads and one DuckDB."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import structlog

from archiver.access import Access
from archiver.answering import Answering
from archiver.api import Api
from archiver.derived_file import kept
from archiver.duck import Duck
from archiver.history import History
from archiver.ingest import Ingest
from archiver.kept_groups import KeptGroups
from archiver.late_edits import LateEdits
from archiver.parquet import write_empty_segment
from archiver.partition import End, PartitionArchive
from archiver.queries import Queries
from archiver.read_index import ReadIndex
from archiver.read_only import ReadOnlyStore
from archiver.replica import PartitionReplica
from archiver.retention import Retention
from archiver.sandbox import Sandbox
from archiver.search.service import Search
from archiver.segment_reader import Known
from archiver.settings import ArchiverSettings
from archiver.takeover import Takeover
from archiver.threads import Threads
from archiver.trimmer import Trimmer
from shared.archive_files import ARCHIVE_SQL, archive_sql
from shared.archive_store import Reached, open_store
from shared.bus import Bus, BusError
from shared.clock import now_us
from shared.errors import LogRegressed, Unavailable
from shared.health import Health
from shared.ids import Epoch, Partition
from shared.log_epochs import LogLook, Verdict, holds, is_over, judge, proven
from shared.records import Position
from shared.retry import delays
from shared.streams import Layout
from shared.subjects import log_stream

DISK_WORKERS = 2
LOOKUP_WORKERS = 2
MERGE_WORKERS = 1
QUERIES_WAITING_MAX = 128
WATCH_EVERY_S = 0.5
EPOCH_EVERY_S = 2.0

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Pools:
    """What all partitions of a process share, so that its threads and memory are bounded."""

    disk: Threads
    lookups: Threads
    merges: Threads
    duck: Duck
    known: Known
    search: Search


class Archiver:
    """Runs until `stop`; then everything hot is committed and `run` returns."""

    def __init__(
        self,
        bus: Bus,
        layout: Layout,
        settings: ArchiverSettings,
        health: Health,
        reached: Reached = lambda _: None,
        clock: Callable[[], int] = now_us,
    ) -> None:
        self._bus = bus
        self._layout = layout
        self._settings = settings
        self._health = health
        self._reached = reached
        self._clock = clock
        self._written = open_store(settings.archive)
        self._store = ReadOnlyStore(self._written) if settings.archiver_reader else self._written
        self._ingests: list[Ingest] = []
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Recover, answer, ingest. Raises when the process must end: fenced, or the archive is not ours."""
        partitions = self._settings.own_partitions(self._layout.partitions)
        self._health.expect("nats", *(f"archive {partition}" for partition in partitions))
        try:
            with kept(self._settings.cache_dir, by_reader=self._settings.archiver_reader):
                await self._run(partitions)
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Commit what is hot and wait until that is done."""
        self._stopping.set()
        for ingest in self._ingests:
            ingest.stop()
        await self._ended.wait()

    async def _run(self, partitions: Sequence[Partition]) -> None:
        async with self._resources() as pools, asyncio.TaskGroup() as around:
            watching = around.create_task(self._watch())
            await pools.disk.run(self._prepare)
            async with self._queries(pools.disk), asyncio.TaskGroup() as tasks:
                for partition in partitions:
                    tasks.create_task(self._partition(partition, pools))
            watching.cancel()

    async def _partition(self, partition: Partition, pools: _Pools) -> None:
        """One archive after the other, if the log is replaced."""
        for delay_s in delays(first_s=0.2, cap_s=3.0):
            try:
                verdict = await proven(self._bus, partition)
                archive = self._archive(partition, verdict)
                await self._prove(archive, await pools.disk.run(archive.found))
                await pools.disk.run(archive.open)
                try:
                    await self._keep(archive, pools)
                finally:
                    await pools.disk.run(archive.close)
                return
            except LogRegressed as error:
                _log.error("archive.log_regressed", partition=partition, error=error.message)
                self._health.set(f"archive {partition}", False, error.message)
            except (Unavailable, BusError) as error:
                self._health.set(f"archive {partition}", False, error.message)
            except OSError as error:  # who writes does not go on beside a disk that refuses: others fence it
                if not self._settings.archiver_reader:
                    raise
                _log.warning("archive.refused", partition=partition, error=str(error))
                self._health.set(f"archive {partition}", False, f"the store refuses: {error}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._stopping.wait()
            if self._stopping.is_set():
                return

    async def _keep(self, archive: PartitionArchive, pools: _Pools) -> None:
        """Until we stop. Raises `LogRegressed` if the log is replaced."""
        ingest = self._ingest(archive, pools)
        timeout_s = self._settings.query_timeout_s
        history = History(archive, pools.duck, pools.lookups, timeout_s, pools.known)
        read_index = ReadIndex(self._bus, ingest)
        access = Access(archive, read_index, pools.lookups)
        async with pools.search.of(archive, access, read_index, history) as found:
            api = Api(ingest, history, access, found, pools.lookups)
            answering = Answering(self._bus, api, self._health, archive.partition)
            beside = [asyncio.create_task(self._watch_epoch(archive, ingest))]
            self._ingests.append(ingest)
            try:
                if isinstance(ingest, Takeover):
                    catching_up = answering.begin_when_caught_up(ingest, read_index, found)
                    beside.append(asyncio.create_task(catching_up))
                else:
                    await answering.begin()
                    trimmer = Trimmer(self._bus, archive, self._settings.log_keep_s)
                    beside.append(asyncio.create_task(trimmer.run()))
                    retention = self._retention(archive, history, read_index, pools)
                    late_edits = LateEdits(self._bus, archive, pools.lookups, self._reached)
                    beside += [asyncio.create_task(it.run()) for it in (retention, late_edits)]
                if self._stopping.is_set():
                    ingest.stop()
                await ingest.run()
            finally:
                for task in beside:
                    task.cancel()
                self._ingests.remove(ingest)
                await asyncio.wait(beside)
                await answering.end()

    def _archive(self, partition: Partition, verdict: Verdict) -> PartitionArchive:
        kind = PartitionReplica if self._settings.archiver_reader else PartitionArchive
        return kind(
            self._store,
            self._settings.cache_dir,
            partition,
            verdict.epoch,
            self._reached,
            replaced=verdict.replaced,
        )

    def _ingest(self, archive: PartitionArchive, pools: _Pools) -> Ingest:
        on = {"disk": pools.disk, "lookups": pools.lookups, "merges": pools.merges}
        if isinstance(archive, PartitionReplica):
            return Takeover(archive, self._bus, self._settings, self._health, **on)
        return Ingest(archive, self._bus, self._settings, self._health, **on)

    def _retention(
        self, archive: PartitionArchive, history: History, read_index: ReadIndex, pools: _Pools
    ) -> Retention:
        return Retention(
            self._bus,
            archive,
            history,
            read_index,
            pools.lookups,
            self._settings.retention_every_s,
            clock=self._clock,
            reached=self._reached,
        )

    async def _prove(self, archive: PartitionArchive, end: End | None) -> None:
        """Raises `LogRegressed` if the archive holds what the log does not, and nobody else has seen that."""
        if end is None:
            return
        newest = Position(stream_seq=end.stream_seq, at_us=end.at_us)

        async def knows(log: LogLook, epoch: Epoch) -> bool:
            return epoch != end.epoch or await holds(self._bus, log, newest)

        verdict = await judge(self._bus, archive.partition, knows)
        if verdict.epoch != archive.epoch:
            raise LogRegressed(f"{log_stream(archive.partition)} has a new epoch: {verdict.epoch}")
        if not verdict.is_held:
            raise LogRegressed(
                f"{log_stream(archive.partition)} does not hold what is archived at {end.stream_seq}; if it "
                f"was restored, `parley new-epoch --partition {archive.partition}` sets this archive aside"
            )

    async def _watch_epoch(self, archive: PartitionArchive, ingest: Ingest) -> None:
        """A log may be replaced behind the end of what we have read of it: nothing in it tells us."""
        while True:
            await asyncio.sleep(EPOCH_EVERY_S)
            with contextlib.suppress(Unavailable, BusError):
                if await is_over(self._bus, {archive.partition: archive.epoch}) is not None:
                    ingest.lose(
                        LogRegressed(f"epoch {archive.epoch} of {log_stream(archive.partition)} is over")
                    )
                    return

    async def _watch(self) -> None:
        while True:
            self._health.set("nats", self._bus.connected, "not connected to NATS")
            await asyncio.sleep(WATCH_EVERY_S)

    def _prepare(self) -> None:
        if self._settings.archiver_reader:
            return
        self._store.make()
        write_empty_segment(self._store)
        self._store.replace(ARCHIVE_SQL, archive_sql(self._store).encode())

    @contextlib.asynccontextmanager
    async def _queries(self, disk: Threads) -> AsyncIterator[None]:
        """Users' SQL, answered meanwhile."""
        sandbox = Sandbox(self._settings, self._written)
        queries = Queries(self._bus, self._settings, self._store, sandbox, disk, self._layout.partitions)
        subscriptions = await queries.serve()
        try:
            yield
        finally:
            for subscription in subscriptions:
                await subscription.unsubscribe()
            await queries.end()

    @contextlib.asynccontextmanager
    async def _resources(self) -> AsyncIterator[_Pools]:
        settings = self._settings
        pools = _Pools(
            disk=Threads("disk", DISK_WORKERS),
            lookups=Threads("lookup", LOOKUP_WORKERS),
            merges=Threads("merge", MERGE_WORKERS),
            duck=Duck(
                workers=settings.query_workers,
                memory_limit=settings.query_memory,
                waiting_max=QUERIES_WAITING_MAX,
                prepare=self._store.prepare,
            ),
            known=Known(groups=KeptGroups(settings.page_cache_bytes)),
            search=Search(settings, self._reached),
        )
        try:
            yield pools
        finally:
            for pool in (pools.search, pools.lookups, pools.duck, pools.known, pools.merges, pools.disk):
                await asyncio.to_thread(pool.close)
