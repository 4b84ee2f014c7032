"""The epochs of all logs, and whether this edge may use them: numbers of a replaced log must not go out (P7).

NATS has to be stopped to replace a log, so every reconnect makes all logs doubtful, until each is proven to
be the one that the sequencer has counted (`shared/log_epochs.py`). One that is not is refuted: its feeds are
given up and none is activated until the sequencer has begun a new epoch. A log that lost something without
anybody losing a connection is found by `check`, which doubts nothing before it has seen that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass, field

import structlog

from shared.bus import Bus, BusError
from shared.errors import LogRegressed, Unavailable
from shared.ids import Epoch, Partition
from shared.log_epochs import likely_epoch, proven
from shared.retry import delays
from shared.streams import Layout

PATIENCE_S = 2.0
"""How long an activation waits for a doubtful log before it is refused."""

_log = structlog.get_logger()


@dataclass(slots=True)
class _Log:
    """`leader_only`: somebody knows better than a copy that lags. `asked`: doubted again meanwhile."""

    epoch: Epoch
    proven: asyncio.Event = field(default_factory=asyncio.Event)
    is_refuted: bool = False
    leader_only: bool = False
    asked: bool = False
    proving: bool = False


class Epochs:
    """What is known of each log.

    `on_loss` is called with a partition whose feeds are worth nothing, `on_proof` when a doubt has ended.
    """

    def __init__(
        self,
        bus: Bus,
        layout: Layout,
        *,
        spawn: Callable[[Coroutine[object, object, None]], object],
        on_loss: Callable[[Partition], None],
        on_proof: Callable[[Partition], None],
    ) -> None:
        self._bus = bus
        self._spawn = spawn
        self._on_loss = on_loss
        self._on_proof = on_proof
        self._logs = {partition: _Log(epoch) for partition, epoch in layout.epochs.items()}

    def of(self, partition: Partition) -> Epoch:
        """The epoch that was proven last."""
        return self._logs[partition].epoch

    def is_proven(self, partition: Partition) -> bool:
        """Whether the log may be used now."""
        return self._logs[partition].proven.is_set()

    async def settled(self, partitions: Collection[Partition]) -> None:
        """Returns when these logs are proven, or after a moment."""
        doubtful = [log for partition in partitions if not (log := self._logs[partition]).proven.is_set()]
        if not doubtful:  # nearly always
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                for log in doubtful:
                    await log.proven.wait()

    def heard(self, partition: Partition, epoch: Epoch) -> None:
        """The sequencer speaks of this epoch of a log."""
        log = self._logs.get(partition)
        if log is not None and epoch not in {"", log.epoch}:
            self.doubt(partition)

    def doubt_all(self) -> None:
        """Any log may have been replaced."""
        for partition, log in self._logs.items():
            log.proven.clear()
            self._begin(partition, log)

    def doubt(self, partition: Partition) -> None:
        """Somebody has seen what this log cannot say: have its leader asked."""
        log = self._logs[partition]
        log.proven.clear()
        log.leader_only = True
        self._begin(partition, log)

    def check(self, partitions: Iterable[Partition] = ()) -> None:
        """Look whether these logs, or all, are still what they were, and use them meanwhile."""
        for partition in partitions or self._logs:
            log = self._logs.get(partition)
            if log is not None and not log.proving:
                self._begin(partition, log)

    def _begin(self, partition: Partition, log: _Log) -> None:
        log.asked = True
        if not log.proving:
            log.proving = True
            self._spawn(self._prove(partition, log))

    async def _prove(self, partition: Partition, log: _Log) -> None:
        try:
            for delay_s in delays(first_s=0.05, cap_s=1.0):
                log.asked = False
                epoch = await self._found(partition, log)
                if epoch is None:
                    await asyncio.sleep(delay_s)
                elif not log.asked:
                    self._settle(partition, log, epoch)
                    return
        finally:
            log.proving = False

    async def _found(self, partition: Partition, log: _Log) -> Epoch | None:
        """The log's epoch; None if it is refuted, or not known yet."""
        if not log.leader_only and (likely := await likely_epoch(self._bus, partition)) == log.epoch:
            return likely
        try:
            return (await proven(self._bus, partition)).epoch
        except LogRegressed as error:
            if not log.is_refuted:
                _log.error("epochs.refuted", partition=partition, error=error.message)
                log.is_refuted = True
                log.proven.clear()
                self._on_loss(partition)
        except (Unavailable, BusError) as error:
            _log.warning("epochs.unproven", partition=partition, error=error.message)
        return None

    def _settle(self, partition: Partition, log: _Log, epoch: Epoch) -> None:
        log.is_refuted = log.leader_only = False
        if epoch != log.epoch:
            _log.error("epochs.changed", partition=partition, old=log.epoch, new=epoch)
            log.epoch = epoch
            self._on_loss(partition)
        if not log.proven.is_set():
            log.proven.set()
            self._on_proof(partition)
