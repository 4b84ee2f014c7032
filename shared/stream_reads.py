"""Reading streams back: JetStream's API, and Direct Get, which any replica answers and which can be stale.

Whoever needs a certain sequence asks until it is there, and the leader last.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import NamedTuple

import nats.errors
import orjson

from shared.clock import parse_rfc3339, rfc3339
from shared.connection import Connection
from shared.envelope import Message, StoredMessage, Value, stored_from_headers
from shared.errors import ParleyError, Unavailable
from shared.ids import StreamSeq
from shared.retry import Deadline, delays

API_DEADLINE_S = 10.0
LAST_SUBJECTS_MAX = 500
GAP_TRIES_MAX = 8

_FIRST = StreamSeq(1)
_NO_MESSAGE = 10037
_NO_PEERS = 10005
"""Fewer servers than copies: a refusal by its status, but a cluster that still gathers says it too."""


HEARD_S = 2.5
"""The copies of a stream answer their leader once a second."""


class Window(NamedTuple):
    """The first sequence that a stream holds, or will hold, and for how long it remembers message ids."""

    first: StreamSeq
    duplicates_s: float


class BusError(ParleyError):
    """JetStream refused a request; `err_code` is its own number."""

    code = "bus_error"

    def __init__(self, message: str, err_code: int = 0, *, status: int = 400) -> None:
        super().__init__(message)
        self.err_code = err_code
        self.status = status
        self.retryable_now = status >= 500


class StreamReads(Connection):
    """A connection that reads streams."""

    async def api(self, operation: str, body: Mapping[str, object]) -> dict[str, object]:
        """Call JetStream's API (`STREAM.INFO.X` …).

        Raises `BusError` if JetStream refuses, `Unavailable` if for 10 s it says nothing or that it cannot.
        """
        deadline = Deadline.after(API_DEADLINE_S)
        said = "no answer"
        for delay_s in delays(first_s=0.1, cap_s=1.0):
            with contextlib.suppress(Unavailable):
                raw = await self.request(f"$JS.API.{operation}", orjson.dumps(body), timeout_s=2.0)
                answer: dict[str, object] = orjson.loads(raw)
                error = answer.get("error")
                if not isinstance(error, dict):
                    return answer
                said, err_code = str(error.get("description")), int(error.get("err_code", 0))
                if error["code"] < 500 and (err_code != _NO_PEERS or deadline.passed):
                    raise BusError(said, err_code)
            if deadline.passed:
                break
            await asyncio.sleep(min(delay_s, deadline.left_s))
        raise Unavailable(f"JetStream's API cannot be used ({operation}): {said}", retry_after_ms=1000)

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

    async def newest_values(self, stream: str, subjects: Sequence[str]) -> list[Value]:
        """As `direct_last`, without where each stands: half the cost of reading an answer."""
        values: list[Value] = []
        for chunk in _chunks(subjects):
            answers = await self._answers(stream, {"multi_last": chunk}, timeout_s=2.0)
            values += [Value(answer.headers["Nats-Subject"], answer.body) for answer in answers]
        return values

    async def last(self, stream: str, subject: str) -> StoredMessage | None:
        """The newest stored message of one subject."""
        return (await self.direct_last(stream, [subject])).get(subject)

    async def stored(self, stream: str, stream_seq: StreamSeq) -> StoredMessage | None:
        """One message by sequence: from any replica, and if none answers with it, from the leader.

        Raises `Unavailable` or `BusError`.
        """
        found = await self.stored_anywhere(stream, stream_seq)
        return found if found is not None else await self.stored_at_leader(stream, stream_seq)

    async def stored_anywhere(self, stream: str, stream_seq: StreamSeq) -> StoredMessage | None:
        """One message by sequence, if the first replica that answers has it."""
        with contextlib.suppress(TimeoutError, nats.errors.Error):
            body = orjson.dumps({"seq": stream_seq})
            reply = await self.ask(f"$JS.API.DIRECT.GET.{stream}", body, timeout_s=0.5)
            if "Status" not in reply.headers:
                return stored_from_headers(reply)
        return None

    async def stored_at_leader(self, stream: str, stream_seq: StreamSeq) -> StoredMessage | None:
        """One message by sequence, as the leader has it. Raises `Unavailable` or `BusError`."""
        return await self._from_leader(stream, {"seq": stream_seq})

    async def newest(self, stream: str, subject: str) -> StoredMessage | None:
        """The newest stored message of one subject, as the leader has it: never stale."""
        return await self._from_leader(stream, {"last_by_subj": subject})

    async def first_seq(self, stream: str) -> StreamSeq:
        """The first sequence that the stream still holds, or will hold; 0 or 1 if it was never trimmed."""
        return (await self.ends(stream))[0]

    async def ends(self, stream: str) -> tuple[StreamSeq, StreamSeq]:
        """`first_seq`, and the last sequence that the stream has given."""
        state = (await self.api(f"STREAM.INFO.{stream}", {}))["state"]
        assert isinstance(state, dict)
        return StreamSeq(state["first_seq"]), StreamSeq(state["last_seq"])

    async def first_since(self, stream: str, at_us: int) -> StreamSeq | None:
        """The first stored sequence that is not older than a time; None if all are, as far as we are told."""
        body = {"start_time": rfc3339(at_us), "next_by_subj": ">", "batch": 1}
        found = await self._direct(stream, body, timeout_s=2.0)
        return found[0].stream_seq if found else None

    async def confirmed_end(self, stream: str) -> StreamSeq:
        """The last sequence that the stream had given when this was asked: what was acknowledged is in it.

        A leader that was cut off does not know it for some 10 s, while the others elect another after 4 s at
        the least. So only one that a majority has answered in `HEARD_S` is believed. Raises `BusError`, or
        `Unavailable` if there is none.
        """
        info = await self.api(f"STREAM.INFO.{stream}", {})
        if not has_majority(info.get("cluster")):
            raise Unavailable(f"{stream} has no leader that the others confirm", retry_after_ms=1000)
        state = info["state"]
        assert isinstance(state, dict)
        return StreamSeq(state["last_seq"])

    async def window(self, stream: str) -> Window:
        """What the stream holds and remembers. Raises `Unavailable` or `BusError`."""
        info = await self.api(f"STREAM.INFO.{stream}", {})
        state, config = info["state"], info["config"]
        assert isinstance(state, dict)
        assert isinstance(config, dict)
        return Window(StreamSeq(state["first_seq"]), config["duplicate_window"] / 1e9)

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
        return [stored_from_headers(answer) for answer in await self._answers(stream, body, timeout_s)]

    async def _answers(self, stream: str, body: Mapping[str, object], timeout_s: float) -> list[Message]:
        answers = await self.collect(f"$JS.API.DIRECT.GET.{stream}", orjson.dumps(body), timeout_s=timeout_s)
        end = answers.pop()
        status = end.headers["Status"]
        if status == "503":
            raise Unavailable(f"{stream} cannot be read now", retry_after_ms=500)
        if status not in {"204", "404"}:
            description = end.headers.get("Description")
            raise BusError(f"Direct Get on {stream}: {status} {description}", status=int(status))
        return answers

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


def has_majority(cluster: object) -> bool:
    """Whether the leader that says this about its cluster has just heard of a majority of the copies."""
    replicas = cluster.get("replicas") if isinstance(cluster, dict) else None
    others = replicas if isinstance(replicas, list) else []
    heard = [one for one in others if not one.get("offline") and one.get("active", 0) < HEARD_S * 1e9]
    return 2 * (len(heard) + 1) > len(others) + 1


def _chunks(subjects: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(subjects), LAST_SUBJECTS_MAX):
        yield list(subjects[start : start + LAST_SUBJECTS_MAX])


def _headers(raw: bytes) -> dict[str, str]:
    """Headers as the leader returns them: `NATS/1.0`, then one `Name: value` a line."""
    lines = raw.decode().split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name: value.strip() for name, _, value in pairs}
