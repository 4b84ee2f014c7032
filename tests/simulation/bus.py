"""The log of one partition, and a bus that loses, doubles, delays, reorders, and answers Direct Get stale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from shared.clock import rfc3339
from shared.envelope import Message, StoredMessage
from shared.errors import Unavailable
from shared.ids import ChannelKey, Partition, StreamSeq
from shared.records import Checkpoint, Position
from shared.stream_reads import BusError, StreamReads
from shared.subjects import (
    CHECKPOINTS,
    channel_subject,
    checkpoint_key,
    kv_subject,
    live_subject,
    log_stream,
    position_key,
)
from tests.simulation.turns import until

PARTITION = Partition(0)
START_US = 1_790_000_000_000_000
_POSITION = kv_subject(CHECKPOINTS, position_key(PARTITION))


class Log:
    """What JetStream has committed. `floor`: everything below it has been trimmed."""

    def __init__(self) -> None:
        self.stored: list[StoredMessage] = []
        self.floor = 1

    @property
    def last(self) -> StreamSeq:
        """The highest sequence."""
        return StreamSeq(len(self.stored))

    def append(self, key: ChannelKey, body: bytes) -> StoredMessage:
        """Commit a message."""
        subject = channel_subject(PARTITION, key)
        before = self.of(subject)
        seq = StreamSeq(self.last + 1)
        stored = StoredMessage(
            subject, body, {}, seq, START_US + seq * 1000, before[-1].stream_seq if before else StreamSeq(0)
        )
        self.stored.append(stored)
        return stored

    def of(self, subject: str, first: int = 1, last: int | None = None) -> list[StoredMessage]:
        """What is held of a subject between two sequences."""
        low = max(first, self.floor)
        return [stored for stored in self.stored[low - 1 : last] if stored.subject == subject]


@dataclass(slots=True, eq=False)
class Inbox:
    """A live subscription: what is on its way to it."""

    subject: str
    callback: Callable[[Message], None]
    waiting: list[Message] = field(default_factory=list)
    bus: Bus | None = None

    async def unsubscribe(self) -> None:
        if self.bus is not None and self in self.bus.inboxes:
            self.bus.inboxes.remove(self)


class Checkpoints(Protocol):
    """What stands in the bucket of checkpoints."""

    position: StreamSeq
    checkpoints: dict[ChannelKey, Checkpoint]


class Bus(StreamReads):
    """The edges' side: the real reads over a log whose replicas lag, and over the bucket of checkpoints."""

    def __init__(self, log: Log, bucket: Callable[[], Checkpoints]) -> None:
        self.log = log
        self.bucket = bucket
        self.inboxes: list[Inbox] = []
        self.lag = 0
        """How many messages the replica that answers is behind."""
        self.is_away = False

    async def subscribe(self, subject: str, callback: Callable[[Message], None], **_: str) -> Inbox:  # type: ignore[override]
        inbox = Inbox(subject, callback, bus=self)
        self.inboxes.append(inbox)
        return inbox

    def republish(self, key: ChannelKey, stored: StoredMessage) -> None:
        """What the stream's leader does after a commit."""
        headers = {
            "Nats-Subject": stored.subject,
            "Nats-Sequence": str(stored.stream_seq),
            "Nats-Time-Stamp": rfc3339(stored.at_us),
            "Nats-Last-Sequence": str(stored.last_seq),
        }
        subject = live_subject(PARTITION, key)
        for inbox in self.inboxes:
            if inbox.subject == subject:
                inbox.waiting.append(Message(subject, stored.body, headers, ""))

    def deliver(self, which: int, how: int) -> None:
        """One message arrives somewhere: as it should, or lost, doubled, or out of order."""
        busy = [inbox for inbox in self.inboxes if inbox.waiting]
        if not busy:
            return
        inbox = busy[which % len(busy)]
        fate = how % 16
        index = 1 if fate in {1, 2} and len(inbox.waiting) > 1 else 0
        message = inbox.waiting[index]
        if fate not in {3, 4}:
            del inbox.waiting[index]
        if fate not in {5, 6}:
            inbox.callback(message)

    def forget_doubles(self) -> None:
        """Quiet again: what waits arrives, each once."""
        for inbox in list(self.inboxes):
            waiting, inbox.waiting = inbox.waiting, []
            for message in waiting:
                inbox.callback(message)

    async def first_seq(self, _: str) -> StreamSeq:
        await self._leader()
        return StreamSeq(self.log.floor)

    async def _direct(self, _: str, body: Mapping[str, object], timeout_s: float) -> list[StoredMessage]:  # noqa: ARG002
        await until()
        if self.is_away:
            raise Unavailable("nobody answers")
        seen = max(0, self.log.last - self.lag)
        subjects = body.get("multi_last")
        if subjects == [_POSITION]:
            position = Position(stream_seq=self.bucket().position)
            return [StoredMessage(_POSITION, position.model_dump_json().encode(), {}, StreamSeq(1), 0)]
        if isinstance(subjects, list):
            newest = [self.log.of(subject, 1, seen)[-1:] for subject in subjects]
            return [found[0] for found in newest if found]
        first, batch = int(str(body["seq"])), int(str(body["batch"]))
        return self.log.of(str(body["next_by_subj"]), first, seen)[:batch]

    async def _leader(self) -> None:
        await until()
        if self.is_away:
            raise BusError("no leader", 10008)

    async def _from_leader(self, stream: str, body: Mapping[str, object]) -> StoredMessage | None:
        await self._leader()
        if "last_by_subj" not in body:
            found = self.log.of(str(body["next_by_subj"]), int(str(body["seq"])))
            return found[0] if found else None
        subject = str(body["last_by_subj"])
        if stream == log_stream(PARTITION):
            return next(iter(self.log.of(subject)[-1:]), None)
        for key, checkpoint in self.bucket().checkpoints.items():
            if subject == kv_subject(CHECKPOINTS, checkpoint_key(PARTITION, key)):
                return StoredMessage(subject, checkpoint.model_dump_json().encode(), {}, StreamSeq(1), 0)
        return None
