"""What JetStream has committed: the log of a partition, and the buckets of the sequencers.

Both take a commit as JetStream does: first the condition on the subject's last sequence, then the message id.
Any replica that answers may be some messages behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.envelope import PubAck, StoredMessage
from shared.errors import WrongLastSequence
from shared.ids import ChannelKey, Epoch, Partition, StreamSeq
from shared.stream_reads import BusError
from shared.streams import DUPLICATE_WINDOW_S
from shared.subjects import bucket_stream, channel_subject, kv_subject, log_stream
from tests.simulation.turns import Current, strike

PARTITION = Partition(0)
START_US = 1_790_000_000_000_000


def now_us() -> int:
    """The wall clock of every process."""
    return START_US + int(Current.now_s * 1e6)


@dataclass(slots=True)
class Request:
    """A message on its way to a stream."""

    subject: str
    body: bytes
    headers: dict[str, str]

    @property
    def msg_id(self) -> str | None:
        """By which it is stored once only."""
        return self.headers.get("Nats-Msg-Id")

    @property
    def expect_last(self) -> int | None:
        """Where the subject has to end for it to be stored."""
        expected = self.headers.get("Nats-Expected-Last-Subject-Sequence")
        return None if expected is None else int(expected)


class Stream:
    """The messages of one stream. `floor`: everything below it has been trimmed.

    `refusal`: what it means if a condition does not hold.
    """

    def __init__(self, name: str, refusal: str) -> None:
        self.name = name
        self.refusal = refusal
        self.epoch = ""
        self.created = 1
        """Another number, another stream of the same name; 0: there is none."""
        self.stored: list[StoredMessage] = []
        self.floor = 1

    @property
    def last(self) -> StreamSeq:
        """The highest sequence."""
        return StreamSeq(len(self.stored))

    def of(self, subject: str, first: int = 1, seen: int | None = None) -> list[StoredMessage]:
        """What a replica that has `seen` so many holds of a subject, from a sequence on."""
        raise NotImplementedError

    def commit(self, requests: Sequence[Request]) -> list[PubAck]:
        """Store one, or several as one batch. Raises `WrongLastSequence` or `BusError`."""
        raise NotImplementedError

    def at(self, stream_seq: int, seen: int | None = None) -> StoredMessage | None:
        """One message by its sequence."""
        held = self.floor <= stream_seq <= (self.last if seen is None else seen)
        return self.stored[stream_seq - 1] if held else None

    def _check(self, request: Request) -> None:
        if request.expect_last is None:
            return
        held = self.of(request.subject)
        if request.expect_last != (held[-1].stream_seq if held else 0):
            strike(self.refusal)
            raise WrongLastSequence("wrong last sequence")


class Log(Stream):
    """The log of the partition. `recorded` hears of every message as it is committed."""

    def __init__(
        self, epoch: Epoch, keys: Sequence[ChannelKey], recorded: Callable[[ChannelKey, StoredMessage], None]
    ) -> None:
        super().__init__(log_stream(PARTITION), "head of a channel moved")
        self.epoch = epoch
        self._keys = {channel_subject(PARTITION, key): key for key in keys}
        self._recorded = recorded
        self._window: dict[str, tuple[StreamSeq, float]] = {}
        self.stuck: dict[str, float] = {}
        """Ids that are "in process" (error 10158), and until when: nothing is stored under them."""

    def of(self, subject: str, first: int = 1, seen: int | None = None) -> list[StoredMessage]:
        low = max(first, self.floor)
        return [stored for stored in self.stored[low - 1 : seen] if stored.subject == subject]

    def append(self, key: ChannelKey, body: bytes) -> None:
        """Commit a message, whoever it is from."""
        self._store(Request(channel_subject(PARTITION, key), body, {}))

    def commit(self, requests: Sequence[Request]) -> list[PubAck]:
        self._check(requests[0])
        known = [self._known(request) for request in requests]
        if len(requests) > 1:
            is_twice = len({request.msg_id for request in requests}) < len(requests)
            if is_twice or any(seq is not None for seq in known):
                raise BusError("a message id of a batch is a duplicate", 10201)
        if known[0] is not None:
            strike("duplicate found by JetStream")
            return [PubAck(self.name, known[0], duplicate=True, retried=False)]
        if any(self.stuck.get(request.msg_id or "", 0.0) > Current.now_s for request in requests):
            strike("id in process (10158)")
            raise BusError("duplicate message id is in process", 10158)
        return [PubAck(self.name, self._store(request), False, False) for request in requests]

    def _known(self, request: Request) -> StreamSeq | None:
        seq, at_s = self._window.get(request.msg_id or "", (None, 0.0))
        return seq if Current.now_s - at_s < DUPLICATE_WINDOW_S else None

    def _store(self, request: Request) -> StreamSeq:
        seq = StreamSeq(self.last + 1)
        held = self.of(request.subject)
        last_seq = held[-1].stream_seq if held else StreamSeq(0)
        at_us = START_US + seq * 1000
        stored = StoredMessage(request.subject, request.body, request.headers, seq, at_us, last_seq)
        self.stored.append(stored)
        if request.msg_id is not None:
            self._window[request.msg_id] = seq, Current.now_s
        self._recorded(self._keys[request.subject], stored)
        return seq


class BucketStream(Stream):
    """The stream below a bucket: of each key the newest value. `written` hears of key and value."""

    def __init__(self, bucket: str, refusal: str, written: Callable[[str, bytes], None]) -> None:
        super().__init__(bucket_stream(bucket), refusal)
        self._prefix = kv_subject(bucket, "")
        self._written = written
        self._before = 0
        """The revision before the first one."""

    @property
    def last(self) -> StreamSeq:
        return StreamSeq(self._before + len(self.stored))

    def of(self, subject: str, first: int = 1, seen: int | None = None) -> list[StoredMessage]:
        prefix = subject.removesuffix(">")
        newest: dict[str, StoredMessage] = {}
        for stored in self.stored if seen is None else self.stored[: max(0, seen - self._before)]:
            if stored.subject == subject or (prefix != subject and stored.subject.startswith(prefix)):
                newest[stored.subject] = stored
        found = [stored for stored in newest.values() if stored.stream_seq >= first]
        return sorted(found, key=lambda stored: stored.stream_seq)

    def commit(self, requests: Sequence[Request]) -> list[PubAck]:
        (request,) = requests
        self._check(request)
        seq = StreamSeq(self.last + 1)
        self.stored.append(StoredMessage(request.subject, request.body, {}, seq, START_US))
        self._written(request.subject.removeprefix(self._prefix), request.body)
        return [PubAck(self.name, seq, duplicate=False, retried=False)]

    def delete(self) -> None:
        """Somebody deletes the bucket."""
        self.stored = []
        self.created = -abs(self.created)

    def create(self, first_seq: int) -> None:
        """Somebody creates it, unless it is there."""
        if self.created < 0:
            self.created = 1 - self.created
            self._before = first_seq - 1

    def restore(self, kept: int) -> None:
        """It is as it was so many writes after its beginning."""
        self.stored = self.stored[:kept]
        self.created = abs(self.created) + 1
