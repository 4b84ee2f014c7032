"""The bus: a NATS connection that stores durably and reads streams back.

A commit is tried in short tries under one id until it is known to be durable, or until its deadline
passes: then its outcome is unknown and the same id may be tried again. Reads go through Direct Get, which
any replica answers and which can be stale: whoever needs a certain sequence asks until it is there, and
the leader last.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

import nats.errors
import orjson

from shared.clock import parse_rfc3339
from shared.connection import Connection, Subscription
from shared.envelope import Message, PubAck, StoredMessage, stored_from_headers
from shared.errors import OutcomeUnknown, ParleyError, Unavailable, WrongLastSequence
from shared.ids import StreamSeq
from shared.retry import Deadline, delays

__all__ = ["Bus", "BusError", "Message", "PubAck", "StoredMessage", "Subscription", "stored_from_headers"]

TRY_TIMEOUT_S = 0.5
"""One try of a commit: an old leader drops requests silently, so a long wait only adds silence."""

COMMIT_DEADLINE_S = 25.0
"""A leader election takes 4 to 9 s and cannot be tuned; this covers two."""

OFFLINE_PATIENCE_S = 2.0
"""How long a commit that nobody has seen yet waits for the connection before it is refused."""

LAST_SUBJECTS_MAX = 500
GAP_TRIES_MAX = 8

_FIRST = StreamSeq(1)
_WRONG_LAST_SEQUENCE = frozenset({10071, 10164})
_DUPLICATE_IN_PROCESS = 10158
_NO_MESSAGE = 10037


class BusError(ParleyError):
    """JetStream refused a request; `err_code` is its own number."""

    code = "bus_error"

    def __init__(self, message: str, err_code: int = 0, *, status: int = 400) -> None:
        super().__init__(message)
        self.err_code = err_code
        self.retryable_now = status >= 500


class Bus(Connection):
    """Durable writes and reads. Open it with `async with Bus.connect(settings, name) as bus`."""

    async def commit(
        self,
        subject: str,
        body: bytes,
        *,
        msg_id: str | None = None,
        expect_last: StreamSeq | None = None,
        headers: Mapping[str, str] | None = None,
        deadline_s: float = COMMIT_DEADLINE_S,
    ) -> PubAck:
        """Store a message in the stream that listens to `subject`; returns when it is durable.

        Without `msg_id` or `expect_last` a retry could store twice; then there is only one try.
        Raises `WrongLastSequence`, `Unavailable` (not stored) or `OutcomeUnknown` (retry under the same id).
        """
        all_headers = dict(headers or {})
        if msg_id is not None:
            all_headers["Nats-Msg-Id"] = msg_id
        if expect_last is not None:
            all_headers["Nats-Expected-Last-Subject-Sequence"] = str(expect_last)
        deadline = Deadline.after(deadline_s)
        sent = 0
        for delay_s in delays(first_s=0.05, cap_s=0.8):
            if await self._reachable(deadline, sent):
                sent += 1
                ack = await self._try_commit(subject, body, all_headers, retried=sent > 1)
                if ack is not None:
                    return ack
            if deadline.passed or (msg_id is None and expect_last is None):
                break
            await asyncio.sleep(min(delay_s, deadline.left_s))
        raise OutcomeUnknown(f"no answer from JetStream within {deadline_s} s", retry_after_ms=2000)

    async def commit_together(
        self,
        subject: str,
        messages: Sequence[tuple[bytes, str, Mapping[str, str]]],
        *,
        expect_last: StreamSeq,
        timeout_s: float = TRY_TIMEOUT_S,
    ) -> list[StreamSeq]:
        """Store (body, message id, headers) of one subject as one atomic batch: all of them, or none.

        One acknowledgement and, in the mode `power`, one fsync for all. There is only one try. Raises
        `WrongLastSequence`; `BusError` if a message id is a duplicate (nothing is stored); `Unavailable`;
        `OutcomeUnknown` if no answer came.
        """
        if not self.connected:
            raise Unavailable("JetStream cannot be reached", retry_after_ms=1000)
        batch = secrets.token_hex(8)
        last = len(messages)
        try:
            for position, (body, msg_id, headers) in enumerate(messages, 1):
                marks = {
                    **headers,
                    "Nats-Msg-Id": msg_id,
                    "Nats-Batch-Id": batch,
                    "Nats-Batch-Sequence": str(position),
                }
                if position == 1:
                    marks["Nats-Expected-Last-Subject-Sequence"] = str(expect_last)
                if position == last:
                    marks["Nats-Batch-Commit"] = "1"
                    reply = await self.ask(subject, body, timeout_s, marks)
                else:
                    self._client.send(subject, body, headers=marks)
        except (TimeoutError, nats.errors.Error) as error:
            raise OutcomeUnknown("no answer to a batch", retry_after_ms=1000) from error
        newest = _acknowledged(reply.body).stream_seq
        return [StreamSeq(newest - last + position) for position in range(1, last + 1)]

    async def _reachable(self, deadline: Deadline, sent: int) -> bool:
        """Wait for the connection; what nobody has seen yet is refused rather than queued."""
        patience = deadline if sent else Deadline.after(min(OFFLINE_PATIENCE_S, deadline.left_s))
        while not self.connected:
            if patience.passed:
                if sent:
                    return False
                raise Unavailable("JetStream cannot be reached", retry_after_ms=1000)
            await asyncio.sleep(0.02)
        return True

    async def _try_commit(
        self, subject: str, body: bytes, headers: dict[str, str], *, retried: bool
    ) -> PubAck | None:
        """One try; None means that the outcome is not known yet."""
        try:
            reply = await self.ask(subject, body, TRY_TIMEOUT_S, headers)
        except (TimeoutError, nats.errors.Error):
            return None
        if "Status" in reply.headers:
            return None  # 503: no stream listens just now
        try:
            return _acknowledged(reply.body, retried=retried)
        except BusError as error:
            if error.retryable_now or error.err_code == _DUPLICATE_IN_PROCESS:
                return None
            raise

    async def api(self, operation: str, body: Mapping[str, object]) -> dict[str, object]:
        """Call JetStream's API (`STREAM.INFO.X` …). Raises `BusError`, or `Unavailable` after 10 s."""
        deadline = Deadline.after(10.0)
        for delay_s in delays(first_s=0.1, cap_s=1.0):
            with contextlib.suppress(Unavailable):
                raw = await self.request(f"$JS.API.{operation}", orjson.dumps(body), timeout_s=2.0)
                answer: dict[str, object] = orjson.loads(raw)
                error = answer.get("error")
                if not isinstance(error, dict):
                    return answer
                if error["code"] < 500 or deadline.passed:
                    raise BusError(str(error.get("description")), int(error.get("err_code", 0)))
            if deadline.passed:
                break
            await asyncio.sleep(min(delay_s, deadline.left_s))
        raise Unavailable(f"JetStream's API does not answer ({operation})", retry_after_ms=1000)

    async def direct_batch(
        self,
        stream: str,
        subject_filter: str,
        *,
        start: StreamSeq,
        batch: int = 256,
        timeout_s: float = 1.0,
    ) -> list[StoredMessage]:
        """The next `batch` stored messages of the filter from `start` on; empty when there are none."""
        body = {"next_by_subj": subject_filter, "seq": max(start, 1), "batch": batch}
        return await self._direct(stream, body, timeout_s)

    async def direct_last(self, stream: str, subjects: Sequence[str]) -> dict[str, StoredMessage]:
        """The newest stored message of each subject that has one, in requests of 500 subjects."""
        newest: dict[str, StoredMessage] = {}
        for chunk in _chunks(subjects):
            for stored in await self._direct(stream, {"multi_last": chunk}, timeout_s=2.0):
                newest[stored.subject] = stored
        return newest

    async def last(self, stream: str, subject: str) -> StoredMessage | None:
        """The newest stored message of one subject."""
        return (await self.direct_last(stream, [subject])).get(subject)

    async def stored(self, stream: str, stream_seq: StreamSeq) -> StoredMessage | None:
        """One message by sequence: from any replica, and if it has none, from the leader."""
        with contextlib.suppress(Unavailable):
            body = orjson.dumps({"seq": stream_seq})
            reply = await self.ask(f"$JS.API.DIRECT.GET.{stream}", body, timeout_s=0.5)
            if "Status" not in reply.headers:
                return stored_from_headers(reply)
        return await self._from_leader(stream, {"seq": stream_seq})

    async def read_between(
        self, stream: str, subject: str, after: StreamSeq, upto: StreamSeq
    ) -> list[StoredMessage]:
        """Every stored message of `subject` in `(after, upto]`, where `upto` is known to exist.

        Replicas may lag, so the answer is checked to reach `upto`; the leader is asked last.
        Raises `Unavailable` if even that does not reach it.
        """
        found: list[StoredMessage] = []
        reached = after
        for delay_s in itertools.islice(delays(first_s=0.02, cap_s=0.5), GAP_TRIES_MAX):
            with contextlib.suppress(Unavailable):
                while batch := await self.direct_batch(stream, subject, start=StreamSeq(reached + 1)):
                    found += [stored for stored in batch if stored.stream_seq <= upto]
                    reached = batch[-1].stream_seq
                    if reached >= upto:
                        return found
            await asyncio.sleep(delay_s)
        while reached < upto:
            following = await self._from_leader(stream, {"seq": reached + 1, "next_by_subj": subject})
            if following is None or following.stream_seq > upto:
                raise Unavailable(f"{stream} does not hold {subject} up to a known position")
            found.append(following)
            reached = following.stream_seq
        return found

    async def scan(
        self, stream: str, subject_filter: str, *, start: StreamSeq = _FIRST, batch: int = 500
    ) -> AsyncIterator[list[StoredMessage]]:
        """All stored messages of the filter in stream order, batch by batch (a bucket's keys, say)."""
        while found := await self.direct_batch(
            stream, subject_filter, start=start, batch=batch, timeout_s=5.0
        ):
            yield found
            start = StreamSeq(found[-1].stream_seq + 1)

    async def _direct(self, stream: str, body: Mapping[str, object], timeout_s: float) -> list[StoredMessage]:
        answers = await self.collect(f"$JS.API.DIRECT.GET.{stream}", orjson.dumps(body), timeout_s=timeout_s)
        end = answers.pop()
        status = end.headers["Status"]
        if status == "503":
            raise Unavailable(f"{stream} cannot be read now", retry_after_ms=500)
        if status not in {"204", "404"}:
            raise BusError(f"Direct Get on {stream}: {status} {end.headers.get('Description')}")
        return [stored_from_headers(answer) for answer in answers]

    async def _from_leader(self, stream: str, body: Mapping[str, object]) -> StoredMessage | None:
        try:
            answer = await self.api(f"STREAM.MSG.GET.{stream}", body)
        except BusError as error:
            if error.err_code == _NO_MESSAGE:
                return None
            raise
        stored = answer["message"]
        assert isinstance(stored, dict)
        return StoredMessage(
            subject=stored["subject"],
            body=base64.b64decode(stored.get("data", "")),
            headers=_headers(base64.b64decode(stored.get("hdrs", ""))),
            stream_seq=StreamSeq(stored["seq"]),
            at_us=parse_rfc3339(stored["time"]),
        )


def _acknowledged(body: bytes, *, retried: bool = False) -> PubAck:
    """JetStream's answer to a publish. Raises `WrongLastSequence` or `BusError`."""
    answer = orjson.loads(body)
    error = answer.get("error")
    if error is None:
        return PubAck(answer["stream"], StreamSeq(answer["seq"]), bool(answer.get("duplicate")), retried)
    err_code = error.get("err_code", 0)
    if err_code in _WRONG_LAST_SEQUENCE:
        raise WrongLastSequence(str(error.get("description")))
    description = error.get("description")
    raise BusError(f"JetStream refused a commit: {description}", err_code, status=error["code"])


def _chunks(subjects: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(subjects), LAST_SUBJECTS_MAX):
        yield list(subjects[start : start + LAST_SUBJECTS_MAX])


def _headers(raw: bytes) -> dict[str, str]:
    """Headers as the leader returns them: `NATS/1.0`, then one `Name: value` a line."""
    lines = raw.decode().split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name: value.strip() for name, _, value in pairs}
