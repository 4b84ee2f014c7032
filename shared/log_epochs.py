"""The epoch of a log: which incarnation of it the numbers belong to, and whether the log is still that one.

An old copy of a stream's directory brings old events back and, in the stream's metadata, an old epoch. So the
metadata is only a label. What counts is the sequencer's saved position: it names the epoch and the last event
that was counted, and a log that holds that event is the one that it speaks of. A new epoch is a position
that says so, written on the condition that nobody has moved the position meanwhile (shared/DESIGN.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from shared.bus import Bus, BusError, StoredMessage
from shared.errors import LogRegressed, Unavailable, WrongLastSequence
from shared.ids import Epoch, Partition, StreamSeq
from shared.records import Position
from shared.streams import EPOCH_LABEL, REPLACED_LABEL
from shared.subjects import CHECKPOINTS, bucket_stream, kv_subject, log_stream, position_key

LOOKS = 3
LOOKS_REPLICATED = 8
LOOK_EVERY_S = 0.5
"""No verdict on one look. A deposed leader, which does not know it yet, answers with an old end; one that has
heard most of its copies within `SILENT_MAX_S`, for longer than that, is none: they would have told it.
"""

SILENT_MAX_S = 3.0
"""Copies answer once a second, and elect another leader no sooner than 4 s after the last word of theirs."""

LOOKS_MAX = 40
EPOCHS_KEPT = 100
_NO_STREAM = 10059
_BUCKET = bucket_stream(CHECKPOINTS)


@dataclass(frozen=True, slots=True)
class LogLook:
    """A log as the leader of its stream knows it.

    `label` and `replaced`: what the stream's metadata say of its epoch and the earlier ones. `copies`: how
    many servers keep it; `is_confirmed`: whether most of them follow this leader.
    """

    partition: Partition
    label: Epoch
    replaced: tuple[Epoch, ...]
    first: StreamSeq
    last: StreamSeq
    copies: int
    is_confirmed: bool


@dataclass(frozen=True, slots=True)
class Saved:
    """The sequencer's position of a log, None before the first, and the revision that a change depends on."""

    position: Position | None
    revision: StreamSeq


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a log is the one that was counted, in which epoch that was, and what this was seen by."""

    epoch: Epoch
    is_held: bool
    log: LogLook
    saved: Saved

    @property
    def replaced(self) -> tuple[Epoch, ...]:
        """The earlier epochs of the log, oldest first."""
        return self.saved.position.replaced if self.saved.position is not None else self.log.replaced


Witness = Callable[[LogLook, Epoch], Awaitable[bool]]
"""Whether the log holds what somebody else knows of it in this epoch."""


async def look(bus: Bus, partition: Partition) -> LogLook:
    """The log now. Raises `Unavailable` or `BusError`."""
    info = await bus.api(f"STREAM.INFO.{log_stream(partition)}", {})
    config, state, cluster = (_object(info, name) for name in ("config", "state", "cluster"))
    metadata = _object(config, "metadata")
    copies = int(str(config["num_replicas"]))
    others = cluster.get("replicas")
    following = sum(map(_follows, others)) if isinstance(others, list) else 0
    return LogLook(
        partition,
        Epoch(str(metadata[EPOCH_LABEL])),
        tuple(map(Epoch, str(metadata.get(REPLACED_LABEL, "")).split())),
        StreamSeq(int(str(state["first_seq"]))),
        StreamSeq(int(str(state["last_seq"]))),
        copies,
        1 + following > copies // 2,
    )


async def holds(bus: Bus, log: LogLook, position: Position) -> bool:
    """Whether the event that stood at a position still does; true if it was trimmed meanwhile.

    Raises `Unavailable` or `BusError`.
    """
    if position.stream_seq < max(log.first, 1):
        return True
    if position.stream_seq > log.last:
        return False
    stored = await bus.stored_at_leader(log_stream(log.partition), position.stream_seq)
    return stored is not None and _is_at(position, stored)


async def saved_position(bus: Bus, partition: Partition) -> Saved:
    """What the sequencer has saved, as the bucket's leader has it. Raises `Unavailable` or `BusError`."""
    try:
        stored = await bus.newest(_BUCKET, kv_subject(CHECKPOINTS, position_key(partition)))
    except BusError as error:
        if error.err_code != _NO_STREAM:
            raise
        stored = None
    if stored is None:
        return Saved(None, StreamSeq(0))
    with contextlib.suppress(ValidationError):  # an unreadable one proves nothing
        return Saved(Position.model_validate_json(stored.body), stored.stream_seq)
    return Saved(None, stored.stream_seq)


async def judge(bus: Bus, partition: Partition, witness: Witness | None = None) -> Verdict:
    """Look until it is certain whether the log is the one that was counted.

    One look that finds its event is enough; that it is gone takes several, of a leader whom most copies
    follow. Raises `Unavailable` if there is no such leader for `LOOKS_MAX` looks, or `BusError`.
    """
    refuting = 0
    for _ in range(LOOKS_MAX):
        log, saved = await look(bus, partition), await saved_position(bus, partition)
        position = saved.position or Position(stream_seq=StreamSeq(0))
        epoch = position.epoch or log.label
        if await holds(bus, log, position) and (witness is None or await witness(log, epoch)):
            return Verdict(epoch, True, log, saved)
        refuting = refuting + 1 if log.is_confirmed else 0
        if refuting >= (LOOKS if log.copies == 1 else LOOKS_REPLICATED):
            return Verdict(epoch, False, log, saved)
        await asyncio.sleep(LOOK_EVERY_S)
    raise Unavailable(f"{log_stream(partition)} has no leader whom its copies follow", retry_after_ms=1000)


async def proven(bus: Bus, partition: Partition) -> Verdict:
    """The verdict on a log that is the one which the sequencer has counted.

    Raises `LogRegressed` if it is another, and no new epoch has begun; `Unavailable` or `BusError`.
    """
    verdict = await judge(bus, partition)
    if not verdict.is_held:
        raise LogRegressed(f"{log_stream(partition)} does not hold what was counted in epoch {verdict.epoch}")
    return verdict


async def is_over(bus: Bus, epochs: Mapping[Partition, Epoch]) -> Partition | None:
    """A log of these whose epoch is not this one any more, if there is one.

    One question to any copy of the bucket, and then one to its leader. Raises `Unavailable` or `BusError`.
    """
    subjects = {kv_subject(CHECKPOINTS, position_key(partition)): partition for partition in epochs}
    for subject, stored in (await bus.direct_last(_BUCKET, list(subjects))).items():
        partition = subjects[subject]
        if _epoch_in(stored) not in {"", epochs[partition]}:
            position = (await saved_position(bus, partition)).position
            if position is not None and position.epoch not in {"", epochs[partition]}:
                return partition
    return None


async def likely_epoch(bus: Bus, partition: Partition) -> Epoch | None:
    """The epoch, if any copy of the log holds the event that any copy of the bucket names; else None.

    Enough to go on while a log has no leader: a copy that says so wrongly is found out by its leader.
    """
    with contextlib.suppress(Unavailable, BusError, ValidationError):
        saved = await bus.last(_BUCKET, kv_subject(CHECKPOINTS, position_key(partition)))
        if saved is not None:
            position = Position.model_validate_json(saved.body)
            if position.epoch and position.stream_seq:
                stored = await bus.stored_anywhere(log_stream(partition), position.stream_seq)
                if stored is not None and _is_at(position, stored):
                    return position.epoch
    return None


async def begin_epoch(bus: Bus, verdict: Verdict) -> Epoch:
    """Begin a new epoch in place of the one that the verdict is about; if somebody was faster, theirs.

    The log is counted from its beginning then. Raises `LogRegressed` if the beginning is not there;
    `WrongLastSequence` if the old epoch's position has moved meanwhile: judge again; `Unavailable`,
    `OutcomeUnknown` or `BusError`.
    """
    partition, old = verdict.log.partition, verdict.epoch
    if verdict.log.first > 1:
        raise LogRegressed(
            f"{log_stream(partition)} holds another log, which begins at {verdict.log.first}: it cannot be "
            "counted. Stop NATS and restore a copy that begins at 1, or that holds what was lost"
        )
    earlier = tuple(dict.fromkeys((*verdict.replaced, verdict.log.label, old)))[-EPOCHS_KEPT:]
    fresh = Position(stream_seq=StreamSeq(0), epoch=Epoch(secrets.token_hex(4)), replaced=earlier)
    try:
        await bus.commit(
            kv_subject(CHECKPOINTS, position_key(partition)),
            fresh.model_dump_json().encode(),
            expect_last=verdict.saved.revision,
        )
    except WrongLastSequence:
        now = (await saved_position(bus, partition)).position
        if now is None or now.epoch in {"", old}:
            raise
        return now.epoch
    return fresh.epoch


async def forget_checkpoints(bus: Bus, partition: Partition, epoch: Epoch) -> None:
    """Remove the checkpoints of the epochs before this one, unless it has been counted in already.

    Whoever counts in it has done so before, and what is newer than the epoch's first position is its own: a
    purge that comes late, or again, takes none of that. Raises `Unavailable` or `BusError`.
    """
    saved = await saved_position(bus, partition)
    if saved.position is not None and (saved.position.epoch, saved.position.stream_seq) == (epoch, 0):
        old = {"filter": kv_subject(CHECKPOINTS, f"{partition}.*.*"), "seq": saved.revision}
        await bus.api(f"STREAM.PURGE.{_BUCKET}", old)


async def label(bus: Bus, log: LogLook, epoch: Epoch, replaced: tuple[Epoch, ...]) -> None:
    """Write an epoch into the stream's metadata, for the day on which the bucket is gone."""
    info = await bus.api(f"STREAM.INFO.{log_stream(log.partition)}", {})
    config = _object(info, "config")
    metadata = {**_object(config, "metadata"), EPOCH_LABEL: epoch, REPLACED_LABEL: " ".join(replaced)}
    await bus.api(f"STREAM.UPDATE.{log_stream(log.partition)}", {**config, "metadata": metadata})


def _epoch_in(stored: StoredMessage) -> str:
    try:
        return Position.model_validate_json(stored.body).epoch
    except ValidationError:
        return ""


def _is_at(position: Position, stored: StoredMessage) -> bool:
    if stored.at_us != position.at_us:
        return False
    return not position.msg_id or stored.headers.get("Nats-Msg-Id") == position.msg_id


def _follows(replica: object) -> bool:
    """Whether a copy, as the leader describes it, has been heard lately and has what the leader has."""
    if not isinstance(replica, dict) or replica.get("offline") or not replica.get("current"):
        return False
    return int(replica.get("active", 0)) < SILENT_MAX_S * 1e9


def _object(holder: Mapping[str, object], name: str) -> dict[str, object]:
    found = holder.get(name) or {}
    assert isinstance(found, dict)
    return found
