"""A process' connection: the real reads and commits of `shared.bus`, over the simulated network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.bus import Bus as RealBus
from shared.bus import Draft
from shared.envelope import Message, PubAck, StoredMessage
from shared.errors import OutcomeUnknown, ParleyError, Unavailable, WrongLastSequence
from shared.ids import StreamSeq
from shared.stream_reads import BusError
from shared.subjects import bucket_stream, log_stream
from tests.simulation.network import Fate, Flight, Inbox, Network
from tests.simulation.streams import PARTITION, BucketStream, Request, Stream
from tests.simulation.turns import Current, strike, until

COMMIT_DEADLINE_S = 0.3
"""Instead of 25 s: some eight tries."""

_DUPLICATE_IN_PROCESS = 10158
_NO_STREAM = 10059


class Bus(RealBus):
    """One of a process; `told` hears what it publishes to everybody: it is a sequencer's."""

    def __init__(self, network: Network, told: Callable[[str, bytes], None] | None = None) -> None:
        self.network = network
        self._told = told

    @property
    def connected(self) -> bool:
        return not self.network.is_away

    async def subscribe(self, subject: str, callback: Callable[[Message], None], **_: str) -> Inbox:  # type: ignore[override]
        inbox = Inbox(subject, callback, self, self.network.inboxes)
        self.network.inboxes.append(inbox)
        return inbox

    async def publish(self, subject: str, body: bytes, **_: object) -> None:
        if self.network.is_away:
            raise Unavailable("nobody is there")
        if self._told is not None:
            self._told(subject, body)

    async def _turn(self) -> None:
        """Others go on meanwhile."""
        if self._told is None or not self.network.is_quiet:
            await until()

    # ------------------------------------------------------------ reads

    async def api(self, operation: str, body: Mapping[str, object]) -> dict[str, object]:
        await self._leader()
        verb, _, name = operation.rpartition(".")
        stream = self.network.streams[name]
        if verb == "STREAM.CREATE":
            assert isinstance(stream, BucketStream)
            stream.create(int(str(body.get("first_seq", 1))))
        if stream.created <= 0:
            raise BusError("stream not found", _NO_STREAM)
        state = {"first_seq": stream.floor, "last_seq": stream.last, "messages": len(stream.stored)}
        metadata = {"parley.epoch": stream.epoch, "parley.partitions": "1"}
        config = {"metadata": metadata, "num_replicas": 1}
        return {"config": config, "created": str(stream.created), "state": state}

    async def request(self, subject: str, body: bytes, *, timeout_s: float) -> bytes:  # noqa: ARG002
        """To an archiver: only a sequencer asks for more than `Archives` answers."""
        await self._turn()
        if self.network.is_away:
            raise Unavailable("nobody is there")
        return self.network.asked(subject, body)

    async def stored_anywhere(self, stream: str, stream_seq: StreamSeq) -> StoredMessage | None:
        await self._turn()
        if self.network.is_away:
            return None
        held = self.network.streams[stream]
        return held.at(stream_seq, self._seen(held))

    def _seen(self, stream: Stream) -> int:
        """How much the replica that answers now has."""
        return max(0, stream.last - self.network.lag)

    async def _direct(self, stream: str, body: Mapping[str, object], timeout_s: float) -> list[StoredMessage]:  # noqa: ARG002
        await self._turn()
        held = self.network.streams[stream]
        if self.network.is_away or held.created <= 0:
            strike("read refused")
            raise Unavailable("nobody answers")
        found = _found(held, body, self._seen(held))
        if self.network.lag and found != _found(held, body, held.last):
            strike("Direct Get stale")
        return found

    async def _leader(self) -> None:
        await self._turn()
        if self.network.is_away:
            strike("read refused")
            raise Unavailable("no leader for ten seconds")

    async def _from_leader(self, stream: str, body: Mapping[str, object]) -> StoredMessage | None:
        await self._leader()
        held = self.network.streams[stream]
        if "last_by_subj" in body:
            return next(iter(held.of(str(body["last_by_subj"]))[-1:]), None)
        seq = int(str(body["seq"]))
        if "next_by_subj" in body:
            return next(iter(held.of(str(body["next_by_subj"]), seq)), None)
        return held.at(seq)

    # ------------------------------------------------------------ commits

    async def commit(self, *arguments: Any, **options: Any) -> PubAck:
        deadline_s = min(COMMIT_DEADLINE_S, options.get("deadline_s", COMMIT_DEADLINE_S))
        return await super().commit(*arguments, **options | {"deadline_s": deadline_s})

    def commit_soon(
        self,
        subject: str,
        body: bytes,
        *,
        msg_id: str,
        headers: Mapping[str, str],
        then: Callable[[PubAck | ParleyError | None], None],
    ) -> bool:
        if self.network.is_away:
            return False
        flight = self._sent([Request(subject, body, {**headers, "Nats-Msg-Id": msg_id})])
        Current.works.add(self._soon(flight, then), self)
        return True

    async def _soon(self, flight: Flight, then: Callable[[PubAck | ParleyError | None], None]) -> None:
        outcome: PubAck | ParleyError | None
        try:
            outcome = await self._answer(flight, retried=False)
        except ParleyError as error:
            outcome = error
        then(outcome)

    async def commit_together(
        self,
        drafts: Sequence[Draft],
        *,
        expect_last: StreamSeq | None = None,
        timeout_s: float = 2.0,  # noqa: ARG002
    ) -> list[StreamSeq]:
        if self.network.is_away:
            raise Unavailable("JetStream cannot be reached")
        requests = [
            Request(draft.subject, draft.body, {**draft.headers, "Nats-Msg-Id": draft.msg_id})
            for draft in drafts
        ]
        if expect_last is not None:
            requests[0].headers["Nats-Expected-Last-Subject-Sequence"] = str(expect_last)
        acks = await self._carried(self._sent(requests))
        if acks is None:
            raise OutcomeUnknown("no answer to a batch")
        strike("batch stored")
        return [ack.stream_seq for ack in acks]

    async def _try_commit(
        self, subject: str, body: bytes, headers: dict[str, str], *, retried: bool
    ) -> PubAck | None:
        return await self._answer(self._sent([Request(subject, body, headers)]), retried=retried)

    async def _answer(self, flight: Flight, *, retried: bool) -> PubAck | None:
        """As `shared.bus` reads it: None means that the outcome is not known yet."""
        try:
            acks = await self._carried(flight)
        except WrongLastSequence as error:
            error.retried = retried
            raise
        except BusError as error:
            if error.err_code == _DUPLICATE_IN_PROCESS:
                return None
            raise
        return acks[0]._replace(retried=retried) if acks else None

    def _sent(self, requests: Sequence[Request]) -> Flight:
        """On its way from now on."""
        kind, name, *_ = requests[0].subject.split(".")
        stream = log_stream(PARTITION) if kind == "channel" else bucket_stream(name)
        flight = Flight(self.network.streams[stream], requests, self, Current.now_s)
        self.network.flights.append(flight)
        return flight

    async def _carried(self, flight: Flight) -> list[PubAck] | None:
        """There and back; None if no answer comes. Raises what JetStream answers."""
        try:
            await self._turn()
            self.network.carry(flight)
            await self._turn()
        finally:
            self.network.over(flight)
        if flight.fate is not Fate.ANSWERED or flight.outcome is None or self.network.is_away:
            Current.now_s += 0.05
            return None
        if isinstance(flight.outcome, ParleyError):
            raise flight.outcome
        return flight.outcome


def _found(held: Stream, body: Mapping[str, object], seen: int) -> list[StoredMessage]:
    subjects = body.get("multi_last")
    if isinstance(subjects, list):
        newest = [held.of(subject, 1, seen)[-1:] for subject in subjects]
        return [found[0] for found in newest if found]
    return held.of(str(body["next_by_subj"]), int(str(body["seq"])), seen)[: int(str(body["batch"]))]
