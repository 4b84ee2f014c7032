"""The bus: a NATS connection that stores durably and reads streams back.

A commit is tried in short tries under one id until it is known to be durable, or until its deadline
passes: then its outcome is unknown and the same id may be tried again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import nats.errors
import orjson

from shared.connection import Subscription
from shared.envelope import Message, PubAck, StoredMessage, Value, stored_from_headers
from shared.errors import OutcomeUnknown, ParleyError, Unavailable, WrongLastSequence
from shared.ids import StreamSeq
from shared.retry import Deadline, delays
from shared.stream_reads import BusError, StreamReads

__all__ = [
    "Bus",
    "BusError",
    "Draft",
    "Message",
    "PubAck",
    "StoredMessage",
    "Subscription",
    "Value",
    "stored_from_headers",
]

TRY_TIMEOUT_S = 0.5
"""One try of a commit: an old leader drops requests silently, so a long wait only adds silence."""

BATCH_TIMEOUT_S = 2.0
"""A batch has only one try, and what is not known of it is asked message by message."""

COMMIT_DEADLINE_S = 25.0
"""A leader election takes 4 to 9 s and cannot be tuned; this covers two."""

OFFLINE_PATIENCE_S = 2.0
"""How long a commit that nobody has seen yet waits for the connection before it is refused."""

_WRONG_LAST_SEQUENCE = frozenset({10071, 10164})
_DUPLICATE_IN_PROCESS = 10158


class Draft(NamedTuple):
    """A message that is to be stored."""

    subject: str
    body: bytes
    msg_id: str
    headers: Mapping[str, str]


class Bus(StreamReads):
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
        tries: int = 0,
    ) -> PubAck:
        """Store a message in the stream that listens to `subject`; returns when it is durable.

        `tries` were made before. Without `msg_id` or `expect_last` a retry could store twice; then there is
        only one. Raises `WrongLastSequence`, `Unavailable` (not stored) or `OutcomeUnknown` (retry under the
        same id).
        """
        all_headers = _commit_headers(headers, msg_id, expect_last)
        deadline = Deadline.after(deadline_s)
        if tries == 0 and self.connected and not deadline.passed:  # nearly always the only try
            ack = await self._try_commit(subject, body, all_headers, retried=False)
            if ack is not None:
                return ack
            tries = 1
        may_repeat = msg_id is not None or expect_last is not None
        for delay_s in delays(first_s=0.05, cap_s=0.8):
            if tries and not may_repeat:
                break
            if tries:
                await asyncio.sleep(min(delay_s, deadline.left_s))
            is_reachable = await self._reachable(deadline, tries)
            if deadline.passed:  # perhaps long ago, if this process was stopped: the id may be forgotten
                break
            if is_reachable:
                tries += 1
                ack = await self._try_commit(subject, body, all_headers, retried=tries > 1)
                if ack is not None:
                    return ack
        raise OutcomeUnknown(f"no answer from JetStream within {deadline_s} s", retry_after_ms=2000)

    def commit_soon(
        self,
        subject: str,
        body: bytes,
        *,
        msg_id: str,
        headers: Mapping[str, str],
        then: Callable[[PubAck | ParleyError | None], None],
    ) -> bool:
        """The first try of a commit, without a task: `then` is called where the answer is read.

        It gets what `commit` returns or raises, or None if nothing is known: then go on with `commit`, which
        is told about this try. Returns whether it was sent; if not, `then` is not called.
        """

        def judge(reply: Message | None) -> None:
            outcome: PubAck | ParleyError | None
            try:
                outcome = None if reply is None else _outcome(reply, retried=False)
            except ParleyError as error:
                outcome = error
            then(outcome)

        try:
            self.ask_soon(subject, body, TRY_TIMEOUT_S, _commit_headers(headers, msg_id, None), judge)
        except nats.errors.Error:
            return False
        return True

    async def commit_together(
        self,
        drafts: Sequence[Draft],
        *,
        expect_last: StreamSeq | None = None,
        timeout_s: float = BATCH_TIMEOUT_S,
    ) -> list[StreamSeq]:
        """Store messages of one stream as one atomic batch: all of them, or none.

        `expect_last` is about the first one's subject. One acknowledgement and, in the mode `power`, one
        fsync of the log for all. There is only one try. Raises
        `WrongLastSequence`; `BusError` if a message id is a duplicate (nothing is stored); `Unavailable`;
        `OutcomeUnknown` if no answer came.
        """
        if not self.connected:
            raise Unavailable("JetStream cannot be reached", retry_after_ms=1000)
        batch = secrets.token_hex(8)
        last = len(drafts)
        try:
            for position, (subject, body, msg_id, headers) in enumerate(drafts, 1):
                marks = {
                    **headers,
                    "Nats-Msg-Id": msg_id,
                    "Nats-Batch-Id": batch,
                    "Nats-Batch-Sequence": str(position),
                }
                if position == 1 and expect_last is not None:
                    marks["Nats-Expected-Last-Subject-Sequence"] = str(expect_last)
                if position == last:
                    marks["Nats-Batch-Commit"] = "1"
                    reply = await self.ask(subject, body, timeout_s, marks)
                else:
                    self._client.send(subject, body, headers=marks)
        except (TimeoutError, nats.errors.Error) as error:
            raise OutcomeUnknown("no answer to a batch", retry_after_ms=1000) from error
        if "Status" in reply.headers:
            raise OutcomeUnknown("no stream takes a batch just now", retry_after_ms=1000)
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
            return _outcome(await self.ask(subject, body, TRY_TIMEOUT_S, headers), retried=retried)
        except (TimeoutError, nats.errors.Error):
            return None


def _commit_headers(
    headers: Mapping[str, str] | None, msg_id: str | None, expect_last: StreamSeq | None
) -> dict[str, str]:
    all_headers = dict(headers) if headers else {}
    if msg_id is not None:
        all_headers["Nats-Msg-Id"] = msg_id
    if expect_last is not None:
        all_headers["Nats-Expected-Last-Subject-Sequence"] = str(expect_last)
    return all_headers


def _outcome(reply: Message, *, retried: bool) -> PubAck | None:
    """What became of a try of a commit; None if that is not known yet. Raises what `commit` raises."""
    if "Status" in reply.headers:
        return None  # 503: no stream listens just now
    try:
        return _acknowledged(reply.body, retried=retried)
    except BusError as error:
        if error.retryable_now or error.err_code == _DUPLICATE_IN_PROCESS:
            return None
        raise


def _acknowledged(body: bytes, *, retried: bool = False) -> PubAck:
    """JetStream's answer to a publish. Raises `WrongLastSequence` or `BusError`."""
    answer = orjson.loads(body)
    error = answer.get("error")
    if error is None:
        return PubAck(answer["stream"], StreamSeq(answer["seq"]), bool(answer.get("duplicate")), retried)
    err_code = error.get("err_code", 0)
    if err_code in _WRONG_LAST_SEQUENCE:
        raise WrongLastSequence(str(error.get("description")), retried=retried)
    description = error.get("description")
    raise BusError(f"JetStream refused a commit: {description}", err_code, status=error["code"])
