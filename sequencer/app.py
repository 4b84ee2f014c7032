"""The sequencer of all partitions: its tasks, and the order in which they stop.

One task a partition follows the log; one broadcasts heads; one writes the directory; one saves checkpoints.
Stopping: the followers and the heads end, then one last round is saved, so that the next start has
nothing to read again; the directory's task ends last, because that round waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

import structlog

from sequencer import metrics
from sequencer.bucket import Bucket
from sequencer.checkpoints import Checkpoints
from sequencer.core.ledger import Ledger
from sequencer.directory import Directory
from sequencer.follower import follow
from sequencer.heads import broadcast
from sequencer.restored import confirm
from sequencer.settings import SequencerSettings
from shared.bus import Bus
from shared.errors import LogRegressed, ParleyError
from shared.health import Health
from shared.ids import Partition
from shared.records import Position
from shared.streams import ensure_streams
from shared.subjects import CHECKPOINTS, DIRECTORY, log_stream

LAST_SAVE_S = 8.0
_log = structlog.get_logger()


class Sequencer:
    """Follows every log of the system. `run` it; `stop` makes `run` return in order."""

    def __init__(
        self,
        bus: Bus,
        settings: SequencerSettings,
        health: Health,
        *,
        ledgers: Sequence[Ledger],
        directory: Directory,
        checkpoints: Checkpoints,
    ) -> None:
        self.ledgers = ledgers
        self._bus = bus
        self._settings = settings
        self._health = health
        self._directory = directory
        self._checkpoints = checkpoints
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()

    @classmethod
    async def load(
        cls, bus: Bus, settings: SequencerSettings, health: Health, before: Sequencer | None = None
    ) -> Sequencer:
        """Create what is missing and read the checkpoints. Raises `LogRegressed`, `Misconfigured`.

        `before`: one that ended with `LogRegressed`; it knows more of the log than it may have saved.
        """
        layout = await ensure_streams(bus, settings)
        health.expect(CHECKPOINTS, *(log_stream(partition) for partition in layout.epochs))
        buckets = (
            Bucket(
                bus,
                name,
                replicas=settings.replicas,
                in_flight_max=settings.writes_in_flight_max,
                confirm=partial(confirm, bus),
            )
            for name in (CHECKPOINTS, DIRECTORY)
        )
        saved, listed = buckets
        directory = Directory(
            bus,
            listed,
            partitions=layout.partitions,
            linger_s=settings.directory_linger_s,
            pending_max=settings.directory_pending_max,
        )
        checkpoints = Checkpoints(bus, saved, directory)
        ledgers = await checkpoints.load(layout.partitions, before.counted if before else {})
        _log.info(
            "sequencer.loaded",
            channels=sum(len(ledger) for ledger in ledgers),
            positions=[ledger.position for ledger in ledgers],
        )
        return cls(bus, settings, health, ledgers=ledgers, directory=directory, checkpoints=checkpoints)

    @property
    def counted(self) -> Mapping[Partition, Position]:
        """How far each log has been read."""
        return {
            ledger.partition: Position(
                stream_seq=ledger.position, at_us=ledger.at_us, msg_id=ledger.msg_id, epoch=ledger.epoch
            )
            for ledger in self.ledgers
        }

    async def run(self) -> None:
        """Until `stop`, or until a task fails: then with its error, in an ExceptionGroup."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._work(group)
        finally:
            self._stopped.set()

    async def stop(self) -> None:
        """End the tasks in order; returns when the last round is saved or has failed."""
        self._stopping.set()
        await self._stopped.wait()

    async def _work(self, group: asyncio.TaskGroup) -> None:
        reading = [
            group.create_task(follow(self._bus, ledger, self._directory, self._health))
            for ledger in self.ledgers
        ]
        telling = group.create_task(broadcast(self._bus, self.ledgers, self._settings.heads_interval_s))
        writing = group.create_task(self._directory.run())
        saving = group.create_task(self._save())
        await self._stopping.wait()
        await _end(*reading, telling, saving)
        await self._save_last()
        await _end(writing)

    async def _save(self) -> None:
        while True:
            await self._save_once()
            await asyncio.sleep(self._settings.checkpoint_interval_s)

    async def _save_once(self) -> None:
        try:
            await self._checkpoints.save(self.ledgers)
        except LogRegressed:
            raise
        except ParleyError as error:
            metrics.WRITE_FAILURES.labels(CHECKPOINTS).inc()
            _log.warning("checkpoints.round_failed", error=error.message)
            self._health.set(CHECKPOINTS, False, error.message)
        else:
            self._health.set(CHECKPOINTS, True)

    async def _save_last(self) -> None:
        try:
            async with asyncio.timeout(LAST_SAVE_S):
                await self._save_once()
        except TimeoutError:
            _log.warning("checkpoints.last_round_timed_out")
        except LogRegressed as error:
            _log.warning("checkpoints.last_round_failed", error=error.message)


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
