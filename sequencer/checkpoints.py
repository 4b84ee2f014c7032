"""Checkpoints: read once at start, then written lazily, round by round.

The order of a round is what makes a restart exact:

1. take what changed in the ledgers, and their positions;
2. wait until the directory holds everything up to there (a checkpoint makes a restart skip the events below
   it, so nothing of them may be outstanding);
3. write the checkpoints; 4. only if all of them are stored, in the same bucket as at the beginning: write
   the positions.

A process that dies anywhere in between leaves checkpoints ahead of their position, which are true all the
same: `Ledger` skips what they already contain.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from pydantic import ValidationError

from sequencer import metrics
from sequencer.archive import archived_heads
from sequencer.bucket import Bucket, Value
from sequencer.core.ledger import BEFORE_ALL, Ledger, Unsaved
from sequencer.directory import Directory
from shared.bus import Bus, StoredMessage
from shared.errors import InvalidId, LogRegressed, Unavailable
from shared.ids import ChannelKey, Partition, StreamSeq, channel_id, workspace_id
from shared.records import Checkpoint, Position
from shared.streams import read_epoch
from shared.subjects import CHECKPOINTS, checkpoint_key, log_stream, position_key

CHUNK = 500
"""Checkpoints encoded and written together: bounds the bodies in memory."""

_NOWHERE = Position(stream_seq=BEFORE_ALL)
_log = structlog.get_logger()


@dataclass(slots=True)
class _Loaded:
    """What the bucket says about one partition."""

    position: Position = _NOWHERE
    checkpoints: dict[ChannelKey, Checkpoint] = field(default_factory=dict)


class Checkpoints:
    """Reads and writes the checkpoints of all partitions."""

    def __init__(self, bus: Bus, bucket: Bucket, directory: Directory) -> None:
        self._bus = bus
        self._bucket = bucket
        self._directory = directory
        self._incarnation = ""
        self._positions: dict[Partition, StreamSeq] = {}
        self._unlisted: list[Ledger] = []
        """Partitions of which the directory may lack anything."""

    async def load(self, partitions: int) -> list[Ledger]:
        """The ledgers of all partitions as the bucket has them, each proven to belong to its log.

        Raises `LogRegressed` if a log is not the one that the checkpoints speak of.
        """
        self._incarnation = await self._bucket.refresh()
        await self._directory.lost()
        loaded = {Partition(number): _Loaded() for number in range(partitions)}
        async for key, stored in self._bucket.read_all():
            _read(loaded, key, stored)
        ledgers = [await self._proven(partition, partitions, found) for partition, found in loaded.items()]
        self._unlisted = [
            ledger
            for ledger in ledgers
            if loaded[ledger.partition].position.directory != self._directory.incarnation
        ]
        return ledgers

    def _ledger(self, partition: Partition, partitions: int, found: _Loaded) -> Ledger:
        position = found.position
        if len(found.checkpoints) < position.channels:
            _log.error(
                "checkpoints.incomplete",
                partition=partition,
                found=len(found.checkpoints),
                wanted=position.channels,
            )
            position = _NOWHERE  # count again; what is there stays true
        self._positions[partition] = position.stream_seq
        return Ledger(
            partition,
            partitions,
            position=position.stream_seq,
            at_us=position.at_us,
            checkpoints=found.checkpoints.items(),
        )

    async def _proven(self, partition: Partition, partitions: int, found: _Loaded) -> Ledger:
        """The log reaches as far as the checkpoints say, and holds their event at the position."""
        ledger = self._ledger(partition, partitions, found)
        stream = log_stream(partition)
        first, last = await self._bus.ends(stream)
        if first > ledger.position + 1:
            found.position = _NOWHERE  # of the directory, too, nothing is known to be complete
            ledger = await self._from_archive(ledger, partitions, StreamSeq(first - 1))
            _, last = await self._bus.ends(stream)  # the archive may have heard of more meanwhile
        elif max(first, 1) <= ledger.position <= last:  # an empty stream says 0
            stored = await self._bus.stored(stream, ledger.position)
            if stored is None or stored.at_us != ledger.at_us:
                raise LogRegressed(
                    f"{stream} holds another event at {ledger.position} than its checkpoints: {_REGRESSED}"
                )
        if ledger.claimed > last:
            raise LogRegressed(
                f"{stream} ends at {last}, its checkpoints speak of {ledger.claimed}: {_REGRESSED}"
            )
        return ledger

    async def _from_archive(self, lost: Ledger, partitions: int, trimmed: StreamSeq) -> Ledger:
        """What the checkpoints should have said of a log that is trimmed up to there."""
        stream = log_stream(lost.partition)
        epoch = await read_epoch(self._bus, lost.partition, partitions)
        try:
            heads = await archived_heads(self._bus, lost.partition, partitions, epoch=epoch, upto=trimmed)
        except LogRegressed as error:
            raise LogRegressed(
                f"{stream} begins at {trimmed + 1}, its checkpoints end at {lost.position}, and "
                f"{error.message}: numbers cannot be derived from the rest; start the archiver, or restore "
                "the bucket CHECKPOINTS or the log from a backup"
            ) from error
        _log.warning("checkpoints.taken_from_archive", partition=lost.partition, channels=len(heads))
        metrics.REBUILDS.labels(CHECKPOINTS).inc()
        ledger = Ledger(lost.partition, partitions, position=trimmed, checkpoints=heads.items())
        ledger.unsave_all()
        self._positions[lost.partition] = BEFORE_ALL
        return ledger

    async def save(self, ledgers: Sequence[Ledger]) -> None:
        """One round. Raises a `ParleyError` if it failed; nothing is lost, the next one repeats it."""
        started_s = time.perf_counter()
        await self._notice_loss(ledgers)
        round_ = {ledger: ledger.take_unsaved() for ledger in ledgers}
        saved = False
        try:
            await self._directory.settled()
            for ledger, unsaved in round_.items():
                await self._write(ledger.partition, unsaved)
            if await self._bucket.refresh() != self._incarnation:
                raise Unavailable("the bucket CHECKPOINTS was recreated meanwhile", retry_after_ms=0)
            await self._write_positions(round_)
            saved = True
        finally:  # also when cancelled: the last round before the end must not miss what this one took
            if not saved:
                for ledger, unsaved in round_.items():
                    ledger.unsave(unsaved)
        metrics.SAVE_S.observe(time.perf_counter() - started_s)

    async def _notice_loss(self, ledgers: Sequence[Ledger]) -> None:
        """Buckets are derived: one that somebody deleted is written again from memory."""
        incarnation = await self._bucket.refresh()
        if incarnation != self._incarnation:
            _log.warning("checkpoints.bucket_recreated")
            metrics.REBUILDS.labels(CHECKPOINTS).inc()
            for ledger in ledgers:
                ledger.unsave_all()
                self._positions[ledger.partition] = BEFORE_ALL
            self._incarnation = incarnation
        if await self._directory.lost():
            self._unlisted = list(ledgers)
        while self._unlisted:
            await self._directory.rebuild(self._unlisted[-1])
            self._unlisted.pop()

    async def _write(self, partition: Partition, unsaved: Unsaved) -> None:
        for chunk in _chunks(unsaved.checkpoints):
            await self._bucket.write(
                [
                    Value(
                        checkpoint_key(partition, key),
                        checkpoint.stream_seq,
                        checkpoint.model_dump_json().encode(),
                    )
                    for key, checkpoint in chunk
                ]
            )

    async def _write_positions(self, round_: Mapping[Ledger, Unsaved]) -> None:
        moved = {
            ledger.partition: unsaved
            for ledger, unsaved in round_.items()
            if unsaved.position > self._positions[ledger.partition]
        }
        await self._bucket.write([self._position(partition, unsaved) for partition, unsaved in moved.items()])
        for partition, unsaved in moved.items():
            self._positions[partition] = unsaved.position
            metrics.SAVED_POSITION.labels(partition).set(unsaved.position)

    def _position(self, partition: Partition, unsaved: Unsaved) -> Value:
        position = Position(
            stream_seq=unsaved.position,
            at_us=unsaved.at_us,
            channels=unsaved.channels,
            directory=self._directory.incarnation,
        )
        return Value(position_key(partition), position.stream_seq, position.model_dump_json().encode())


_REGRESSED = (
    "the log was replaced or has lost its end; if that is intended, delete the buckets CHECKPOINTS and "
    "DIRECTORY while no sequencer runs, and numbers are counted afresh"
)


def _read(loaded: Mapping[Partition, _Loaded], key: str, stored: StoredMessage) -> None:
    """Take one value of the bucket in; what cannot be read is left out, and missed by `Position.channels`."""
    try:
        number, *name = key.split(".")
        found = loaded[Partition(int(number))]
        if key == position_key(Partition(int(number))):
            found.position = Position.model_validate_json(stored.body)
        else:
            workspace, channel = name
            found.checkpoints[ChannelKey(workspace_id(workspace), channel_id(channel))] = (
                Checkpoint.model_validate_json(stored.body)
            )
    except (InvalidId, KeyError, ValueError, ValidationError):
        _log.error("checkpoints.value_unreadable", key=key)


def _chunks(
    checkpoints: Sequence[tuple[ChannelKey, Checkpoint]],
) -> Iterator[Sequence[tuple[ChannelKey, Checkpoint]]]:
    for start in range(0, len(checkpoints), CHUNK):
        yield checkpoints[start : start + CHUNK]
