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
from types import MappingProxyType

import structlog
from pydantic import ValidationError

from sequencer import metrics
from sequencer.archive import archived_heads
from sequencer.bucket import Bucket, Value
from sequencer.core.ledger import BEFORE_ALL, Ledger, Unsaved
from sequencer.directory import Directory
from sequencer.restored import Claim, settled_epoch
from shared.bus import Bus, StoredMessage
from shared.errors import InvalidId, LogRegressed, Unavailable
from shared.ids import ChannelKey, Epoch, Partition, StreamSeq, channel_id, workspace_id
from shared.log_epochs import is_over
from shared.records import Checkpoint, Position
from shared.subjects import CHECKPOINTS, channel_subject, checkpoint_key, log_stream, position_key

CHUNK = 500
"""Checkpoints encoded and written together: bounds the bodies in memory."""

_NOWHERE = Position(stream_seq=BEFORE_ALL)
_UNCOUNTED: Mapping[Partition, Position] = MappingProxyType({})
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
        self._replaced: dict[Partition, tuple[Epoch, ...]] = {}
        self._unlisted: list[Ledger] = []
        """Partitions of which the directory may lack anything."""

    async def load(self, partitions: int, counted: Mapping[Partition, Position] = _UNCOUNTED) -> list[Ledger]:
        """The ledgers of all partitions as the bucket has them, each proven to belong to its log.

        `counted`: how far this process had counted before. A log that was replaced gets a new epoch and an
        empty ledger. Raises `LogRegressed` if a log begins behind its checkpoints.
        """
        self._incarnation = await self._bucket.refresh()
        await self._directory.lost()
        loaded = {Partition(number): _Loaded() for number in range(partitions)}
        async for key, stored in self._bucket.read_all():
            _read(loaded, key, stored)
        ledgers = [
            await self._ledger(partition, partitions, found, counted.get(partition))
            for partition, found in loaded.items()
        ]
        await self._directory.lost()  # replaced logs take it along
        self._unlisted = [
            ledger
            for ledger in ledgers
            if loaded[ledger.partition].position.directory != self._directory.incarnation
        ]
        return ledgers

    async def _ledger(
        self, partition: Partition, partitions: int, loaded: _Loaded, counted: Position | None
    ) -> Ledger:
        found = loaded
        epoch, is_ours, replaced = await settled_epoch(
            self._bus, partition, _newest(partition, found), counted
        )
        self._replaced[partition] = replaced
        is_current = found.position.epoch == epoch or not (found.position.epoch or replaced)
        if not (is_ours and is_current):  # another sequencer may have begun the epoch since this was read
            found = _Loaded()
        position = found.position
        checkpoints = {key: one for key, one in found.checkpoints.items() if one.counts_in(epoch)}
        if len(checkpoints) < position.channels:
            _log.error(
                "checkpoints.incomplete",
                partition=partition,
                found=len(checkpoints),
                wanted=position.channels,
            )
            position = _NOWHERE  # count again; what is there stays true
        self._positions[partition] = position.stream_seq
        ledger = Ledger(
            partition,
            partitions,
            position=position.stream_seq,
            at_us=position.at_us,
            msg_id=position.msg_id,
            epoch=epoch,
            checkpoints=checkpoints.items(),
        )
        first, last = await self._bus.ends(log_stream(partition))
        if first > ledger.position + 1:
            loaded.position = _NOWHERE  # of the directory, too, nothing is known to be complete
            ledger = await self._from_archive(ledger, partitions, StreamSeq(first - 1))
            # The archive may have heard of more meanwhile.
            _, last = await self._bus.ends(log_stream(partition))
        if ledger.claimed > last:
            raise LogRegressed(f"{log_stream(partition)} ends at {last}, its archive at {ledger.claimed}")
        return ledger

    async def _from_archive(self, lost: Ledger, partitions: int, trimmed: StreamSeq) -> Ledger:
        """What the checkpoints should have said of a log that is trimmed up to there."""
        stream, epoch = log_stream(lost.partition), lost.epoch
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
        ledger = Ledger(lost.partition, partitions, position=trimmed, epoch=epoch, checkpoints=heads.items())
        ledger.unsave_all()
        self._positions[lost.partition] = BEFORE_ALL
        return ledger

    async def save(self, ledgers: Sequence[Ledger]) -> None:
        """One round. Raises a `ParleyError` if it failed; nothing is lost, the next one repeats it.

        But not after `LogRegressed`: somebody has begun a new epoch, and these ledgers count in an old one.
        """
        started_s = time.perf_counter()
        await self._notice_loss(ledgers)
        over = await is_over(self._bus, {ledger.partition: ledger.epoch for ledger in ledgers})
        if over is not None:
            raise LogRegressed(f"{log_stream(over)} has a new epoch")
        round_ = {ledger: ledger.take_unsaved() for ledger in ledgers}
        saved = False
        try:
            await self._directory.settled()
            for ledger, unsaved in round_.items():
                await self._write(ledger, unsaved)
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

    async def _write(self, ledger: Ledger, unsaved: Unsaved) -> None:
        for chunk in _chunks(unsaved.checkpoints):
            await self._bucket.write(
                [
                    Value(
                        checkpoint_key(ledger.partition, key),
                        checkpoint.stream_seq,
                        checkpoint.model_dump_json().encode(),
                        ledger.partition,
                        ledger.epoch,
                    )
                    for key, checkpoint in chunk
                ]
            )

    async def _write_positions(self, round_: Mapping[Ledger, Unsaved]) -> None:
        moved = {
            ledger: unsaved
            for ledger, unsaved in round_.items()
            if unsaved.position > self._positions[ledger.partition]
        }
        await self._bucket.write([self._position(ledger, unsaved) for ledger, unsaved in moved.items()])
        for ledger, unsaved in moved.items():
            self._positions[ledger.partition] = unsaved.position
            metrics.SAVED_POSITION.labels(ledger.partition).set(unsaved.position)

    def _position(self, ledger: Ledger, unsaved: Unsaved) -> Value:
        position = Position(
            stream_seq=unsaved.position,
            at_us=unsaved.at_us,
            msg_id=unsaved.msg_id,
            channels=unsaved.channels,
            directory=self._directory.incarnation,
            epoch=ledger.epoch,
            replaced=self._replaced.get(ledger.partition, ()),
        )
        return Value(
            position_key(ledger.partition),
            position.stream_seq,
            position.model_dump_json().encode(),
            ledger.partition,
            ledger.epoch,
        )


def _newest(partition: Partition, found: _Loaded) -> Claim | None:
    """The checkpoint of the saved position's epoch that reaches furthest."""
    claims = (
        Claim(one.stream_seq, channel_subject(partition, key), one.epoch)
        for key, one in found.checkpoints.items()
        if one.epoch in {"", found.position.epoch} or not found.position.epoch
    )
    return max(claims, default=None)


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
