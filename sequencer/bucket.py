"""A key-value bucket whose values only move forward, however many sequencers write to it.

Every value carries its `stream_seq`. A write is a compare-and-set on the key's revision, and before it the
stored value is known: if that is as new or newer, there is nothing to do. So a sequencer that is behind
can never overwrite one that is ahead.

A value also names the epoch of the log that it was derived in. One of another epoch is no older and no newer:
who meets it asks whether its own epoch is over (`Confirm`), and if not, replaces it.

Revisions mean nothing in another bucket of the same name, so the bucket's creation time is its
`incarnation`. `refresh` recreates a missing bucket; whoever sees the incarnation change writes everything
again. A key that is gone says the same: the write is refused. So is a write on a revision of a bucket that is
gone: the new one's revisions are all greater (`ensure_bucket`).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import structlog
from pydantic import BaseModel, ValidationError

from sequencer import metrics
from shared.bus import Bus, StoredMessage
from shared.errors import ParleyError, Unavailable, WrongLastSequence
from shared.ids import Epoch, Partition, StreamSeq
from shared.retry import delays
from shared.streams import ensure_bucket
from shared.subjects import bucket_stream, kv_subject

Outcome = Literal["written", "present", "newer"]

KNOWN_MAX = 200_000
"""Keys whose revision is remembered, some 40 MB; others are read before they are written."""

COMMIT_DEADLINE_S = 5.0
CONFLICTS_MAX = 8
SCAN_BATCH = 100
_NOTHING = StreamSeq(0)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Value:
    """What should stand under a key, and the position of the log, in its epoch, that it speaks of."""

    key: str
    stream_seq: StreamSeq
    body: bytes
    partition: Partition
    epoch: Epoch


Confirm = Callable[[Value], Awaitable[None]]
"""Raises `LogRegressed` if the epoch of a value is over."""


class _Known(NamedTuple):
    revision: StreamSeq
    stream_seq: StreamSeq
    epoch: Epoch

    def speaks_of(self, epoch: Epoch) -> bool:
        """Values from before there were epochs are of any."""
        return self.epoch in {"", epoch}


_UNKNOWN = _Known(_NOTHING, _NOTHING, Epoch(""))


class _Sequenced(BaseModel):
    stream_seq: StreamSeq
    epoch: Epoch = Epoch("")


class Bucket:
    """One bucket. At most `in_flight_max` writes are under way at once in one call of `write`."""

    def __init__(self, bus: Bus, name: str, *, replicas: int, in_flight_max: int, confirm: Confirm) -> None:
        self.name = name
        self.incarnation = ""
        self._bus = bus
        self._stream = bucket_stream(name)
        self._replicas = replicas
        self._in_flight_max = in_flight_max
        self._confirm = confirm
        self._known: dict[str, _Known] = {}

    async def refresh(self) -> str:
        """Recreate the bucket if it is gone; its incarnation."""
        await ensure_bucket(self._bus, self.name, replicas=self._replicas)
        info = await self._bus.api(f"STREAM.INFO.{self._stream}", {})
        incarnation = str(info["created"])
        if incarnation != self.incarnation:
            self.incarnation = incarnation
            self._known.clear()
        return incarnation

    async def read_all(self) -> AsyncIterator[tuple[str, StoredMessage]]:
        """Every key with its value, oldest revision first; a key may come again with a newer value.

        Replicas answer, and may lag. Revisions come in ascending order and the scan ends only at the newest
        one that the leader had at its beginning: whatever a lagging replica left out comes again later.
        Raises `Unavailable` if that end is not reached.
        """
        prefix = kv_subject(self.name, "")
        newest = await self._newest_revision()
        reached = _NOTHING
        for delay_s in itertools.islice(delays(first_s=0.05, cap_s=1.0), CONFLICTS_MAX):
            start = StreamSeq(reached + 1)
            async for batch in self._bus.scan(self._stream, f"{prefix}>", start=start, batch=SCAN_BATCH):
                for stored in batch:
                    yield stored.subject.removeprefix(prefix), stored
                reached = batch[-1].stream_seq
            if reached >= newest:
                return
            await asyncio.sleep(delay_s)
        raise Unavailable(f"{self._stream} cannot be read up to its end", retry_after_ms=1000)

    async def write(self, values: Sequence[Value]) -> list[Outcome]:
        """Bring these keys forward; the outcomes in the order of the values.

        Raises the first error after all writes have ended; calling again repeats only what is missing.
        `LogRegressed`: the epoch of one of them is over.
        """
        await self._learn([value.key for value in values])
        outcomes: dict[int, Outcome] = {}
        work = iter(enumerate(values))
        workers = (self._drain(work, outcomes) for _ in range(min(self._in_flight_max, len(values))))
        for error in await asyncio.gather(*workers):
            if error is not None:
                raise error
        for outcome in outcomes.values():
            metrics.WRITES.labels(self.name, outcome).inc()
        return [outcomes[index] for index in range(len(values))]

    async def _drain(
        self, work: Iterator[tuple[int, Value]], outcomes: dict[int, Outcome]
    ) -> ParleyError | None:
        for index, value in work:
            try:
                outcomes[index] = await self._put(value)
            except ParleyError as error:
                return error
        return None

    async def _put(self, value: Value) -> Outcome:
        subject = kv_subject(self.name, value.key)
        for delay_s in itertools.islice(delays(first_s=0.01, cap_s=0.5), CONFLICTS_MAX):
            known = self._known.get(value.key, _UNKNOWN)
            if not known.speaks_of(value.epoch):
                await self._confirm(value)
            elif known.revision and known.stream_seq >= value.stream_seq:
                return "present" if known.stream_seq == value.stream_seq else "newer"
            incarnation = self.incarnation
            try:
                ack = await self._bus.commit(
                    subject, value.body, expect_last=known.revision, deadline_s=COMMIT_DEADLINE_S
                )
            except WrongLastSequence:
                metrics.WRITE_CONFLICTS.labels(self.name).inc()
                await self._look_again(value.key, known)
                await asyncio.sleep(delay_s)
                continue
            self._remember(value.key, _Known(ack.stream_seq, value.stream_seq, value.epoch), incarnation)
            return "written"
        raise Unavailable(f"{subject} keeps changing", retry_after_ms=500)

    async def _look_again(self, key: str, known: _Known) -> None:
        incarnation = self.incarnation
        stored = await self._bus.last(self._stream, kv_subject(self.name, key))
        if stored is not None:
            self._remember(key, _parsed(stored), incarnation)
        elif known.revision:
            self._known.pop(key, None)
            raise Unavailable(f"{self._stream} has lost {key}: it was recreated", retry_after_ms=0)

    async def _learn(self, keys: Sequence[str]) -> None:
        incarnation = self.incarnation
        unknown = [kv_subject(self.name, key) for key in keys if key not in self._known]
        if unknown:
            prefix = kv_subject(self.name, "")
            for subject, stored in (await self._bus.direct_last(self._stream, unknown)).items():
                self._remember(subject.removeprefix(prefix), _parsed(stored), incarnation)

    def _remember(self, key: str, known: _Known, incarnation: str) -> None:
        if incarnation != self.incarnation:
            return  # an answer from a bucket that is gone
        if len(self._known) >= KNOWN_MAX and key not in self._known:
            del self._known[next(iter(self._known))]
        self._known[key] = known

    async def _newest_revision(self) -> StreamSeq:
        info = await self._bus.api(f"STREAM.INFO.{self._stream}", {})
        state = info["state"]
        assert isinstance(state, dict)
        return StreamSeq(state["last_seq"] if state["messages"] else _NOTHING)


def _parsed(stored: StoredMessage) -> _Known:
    """What cannot be read counts as older than everything: it is overwritten."""
    try:
        found = _Sequenced.model_validate_json(stored.body)
        return _Known(stored.stream_seq, found.stream_seq, found.epoch)
    except ValidationError:
        _log.warning("bucket.value_unreadable", subject=stored.subject)
        return _Known(stored.stream_seq, _NOTHING, Epoch(""))
