"""The directory: who belongs to which channel, and which channels are public, by user and by workspace.

Changes gather for a moment, newest per key, are written with compare-and-set, and are then told to the
user's sessions on `user.<workspace>.<user>.membership`. What fails stays here and is written again: told
twice is harmless (an edge compares `stream_seq`), not told is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import structlog

from sequencer import metrics
from sequencer.bucket import Bucket, Outcome, Value
from sequencer.core.belongings import Entry, absence, all_entries
from sequencer.core.ledger import Ledger
from shared.bus import Bus
from shared.errors import InvalidId, LogRegressed, ParleyError
from shared.ids import ChannelKey, UserId, channel_id, user_from_token, workspace_id
from shared.records import Belonging
from shared.retry import delays
from shared.subjects import DIRECTORY, partition_of, user_subject

CHUNK = 500

_log = structlog.get_logger()


class Directory:
    """Entries on their way to the bucket. `run` writes them; one call at a time."""

    def __init__(
        self, bus: Bus, bucket: Bucket, *, partitions: int, linger_s: float, pending_max: int
    ) -> None:
        self.bucket = bucket
        self.incarnation = ""
        """The incarnation of the bucket that is complete, once `settled` has returned."""
        self._bus = bus
        self._partitions = partitions
        self._linger_s = linger_s
        self._pending_max = pending_max
        self._pending: dict[str, Entry] = {}
        self._added = 0
        self._written = 0
        self._wake = asyncio.Event()
        self._progress = asyncio.Condition()

    def add(self, entries: Iterable[Entry]) -> None:
        """Take entries in; of those of one key that are not written yet, the newest stays."""
        for entry in entries:
            waiting = self._pending.get(entry.key)
            if waiting is None or waiting.record.stream_seq <= entry.record.stream_seq:
                self._pending[entry.key] = entry
            self._added += 1
        if self._pending:
            self._wake.set()

    async def rebuild(self, ledger: Ledger) -> None:
        """The bucket may lack anything of this partition, or list who has been removed: say all, as of now.

        Raises `Unavailable` or `BusError` if the bucket cannot be read.
        """
        checkpoints = dict(ledger.checkpoints())
        for key, checkpoint in checkpoints.items():
            self.add(all_entries(key, checkpoint))
            await self.room()
        async for name, stored in self.bucket.read_all():
            listed = _listed(name, stored.body)
            if listed is not None and listed[0] in checkpoints:
                gone = absence(*listed, checkpoints[listed[0]])
                self.add([] if gone is None else [gone])
                await self.room()

    async def lost(self) -> bool:
        """Whether the bucket was recreated since the last call: then everything has to be added again."""
        known, self.incarnation = self.incarnation, await self.bucket.refresh()
        if known in {"", self.incarnation}:
            return False
        _log.warning("directory.bucket_recreated")
        metrics.REBUILDS.labels(DIRECTORY).inc()
        return True

    async def room(self) -> None:
        """Returns when fewer than `pending_max` entries wait: who adds entries waits here in between."""
        async with self._progress:
            await self._progress.wait_for(lambda: len(self._pending) < self._pending_max)

    async def settled(self) -> None:
        """Returns when everything that was added before this call is written and told."""
        target = self._added
        async with self._progress:
            await self._progress.wait_for(lambda: self._written >= target)

    async def run(self) -> None:
        """Write what gathers, for ever. Raises `LogRegressed` if the epoch of any of it is over."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(self._linger_s)
            await self._flush()

    async def _flush(self) -> None:
        """Write everything that is pending now; retries until it is stored and told."""
        self._wake.clear()
        for delay_s in delays(first_s=0.1, cap_s=2.0):
            taken, self._pending = self._pending, {}
            target = self._added
            try:
                await self._store(list(taken.values()))
            except LogRegressed:
                raise
            except ParleyError as error:
                metrics.WRITE_FAILURES.labels(DIRECTORY).inc()
                _log.warning("directory.write_failed", error=error.message, entries=len(taken))
                self._pending = taken | self._pending
                await asyncio.sleep(delay_s)
                await self._recreate()
                continue
            async with self._progress:
                self._written = target
                self._progress.notify_all()
            metrics.DIRECTORY_PENDING.set(len(self._pending))
            return

    async def _store(self, entries: Sequence[Entry]) -> None:
        for start in range(0, len(entries), CHUNK):
            chunk = entries[start : start + CHUNK]
            values = [self._value(entry) for entry in chunk]
            outcomes = await self.bucket.write(values)
            for entry, outcome, value in zip(chunk, outcomes, values, strict=True):
                await self._tell(entry, outcome, value.body)

    def _value(self, entry: Entry) -> Value:
        record = entry.record
        partition = partition_of(entry.channel, self._partitions)
        return Value(entry.key, record.stream_seq, record.model_dump_json().encode(), partition, record.epoch)

    async def _tell(self, entry: Entry, outcome: Outcome, body: bytes) -> None:
        if entry.user is not None and outcome != "newer":
            await self._bus.publish(user_subject(entry.channel.workspace, entry.user, "membership"), body)

    async def _recreate(self) -> None:
        try:
            await self.bucket.refresh()
        except ParleyError as error:
            _log.warning("directory.bucket_unreachable", error=error.message)


def _listed(name: str, body: bytes) -> tuple[ChannelKey, UserId] | None:
    """Whom an entry lists, and where; None for one of another kind."""
    try:
        workspace, user, channel = name.split(".")
        if not Belonging.model_validate_json(body).member:
            return None
        return ChannelKey(workspace_id(workspace), channel_id(channel)), user_from_token(user)
    except (InvalidId, ValueError):  # a ValidationError is a ValueError
        return None
