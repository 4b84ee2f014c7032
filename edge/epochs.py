"""The epochs of all logs, and whether this edge may use them: numbers of a replaced log must not go out (P7).

NATS has to be stopped to replace a log, so every reconnect makes all logs doubtful, until each is proven to
be the one that the sequencer has counted (shared/DESIGN.md, Epochs). One that is not, is refuted: its feeds
are given up and none is activated until the sequencer has begun a new epoch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import structlog

from shared.bus import Bus, BusError
from shared.errors import LogRegressed, Unavailable
from shared.ids import Epoch, Partition
from shared.log_epochs import proven_epoch
from shared.retry import delays
from shared.streams import Layout

PATIENCE_S = 2.0
"""How long an activation waits for a doubtful log before it is refused."""

_log = structlog.get_logger()


@dataclass(slots=True)
class _Log:
    epoch: Epoch
    proven: asyncio.Event = field(default_factory=asyncio.Event)
    doubts: int = 0


class Epochs:
    """What is known of each log; `on_loss` is called with a partition whose feeds are worth nothing."""

    def __init__(
        self,
        bus: Bus,
        layout: Layout,
        *,
        spawn: Callable[[Coroutine[object, object, None]], object],
        on_loss: Callable[[Partition], None],
    ) -> None:
        self._bus = bus
        self._spawn = spawn
        self._on_loss = on_loss
        self._logs = {partition: _Log(epoch) for partition, epoch in layout.epochs.items()}

    def __getitem__(self, partition: Partition) -> Epoch:
        return self._logs[partition].epoch

    async def proven(self, partition: Partition) -> None:
        """Returns when the log's epoch may be used. Raises `Unavailable` if that takes too long."""
        proven = self._logs[partition].proven
        if proven.is_set():
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                await proven.wait()
        except TimeoutError:
            raise Unavailable("it is not known yet which log this is", retry_after_ms=1000) from None

    def heard(self, partition: Partition, epoch: Epoch) -> None:
        """The sequencer speaks of this epoch of a log."""
        log = self._logs.get(partition)
        if log is not None and epoch not in {"", log.epoch}:
            self.doubt(partition)

    def doubt_all(self) -> None:
        """Any log may have been replaced."""
        for partition in self._logs:
            self.doubt(partition)

    def doubt(self, partition: Partition) -> None:
        """This log may have been replaced: prove it anew."""
        log = self._logs[partition]
        log.proven.clear()
        log.doubts += 1
        if log.doubts == 1:
            self._spawn(self._prove(partition, log))

    async def _prove(self, partition: Partition, log: _Log) -> None:
        refuted = False
        for delay_s in delays(first_s=0.05, cap_s=1.0):
            doubts = log.doubts
            try:
                epoch = await proven_epoch(self._bus, partition)
            except LogRegressed as error:
                if not refuted:
                    _log.error("epochs.refuted", partition=partition, error=error.message)
                    self._on_loss(partition)
                refuted = True
            except (Unavailable, BusError) as error:
                _log.warning("epochs.unproven", partition=partition, error=error.message)
            else:
                if doubts == log.doubts:
                    self._settle(partition, log, epoch)
                    return
                continue  # doubted again meanwhile
            await asyncio.sleep(delay_s)

    def _settle(self, partition: Partition, log: _Log, epoch: Epoch) -> None:
        log.doubts = 0
        if epoch != log.epoch:
            _log.error("epochs.changed", partition=partition, old=log.epoch, new=epoch)
            log.epoch = epoch
            self._on_loss(partition)
        log.proven.set()
