"""Commits of many senders as atomic batches: all that came during the last one wait for the disk once.

A prototype, to see what it brings in the mode `power`; no service publishes like this. One batch of a stream
is under way at a time, so the commits of a channel keep their order. A commit that comes alone is an ordinary
one and waits for nobody. A batch costs four fsyncs, whatever its size (nats-server 2.15.1: three of the place
where it is gathered, one of the log), so it is worth more than four commits.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from dataclasses import dataclass

import nats.errors
import orjson

from shared.bus import Bus, PubAck
from shared.errors import ParleyError, Unavailable

BATCH_MAX = 200
"""JetStream takes 1,000; a refused batch costs as many single commits."""

BATCH_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    subject: str
    body: bytes
    msg_id: str
    done: asyncio.Future[None]


class GroupedCommits:
    """`commit` like a bus's, for the subjects of logs."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: dict[str, deque[_Waiting]] = {}
        self._senders: dict[str, asyncio.Task[None]] = {}
        self.commits = 0
        self.answers = 0
        """How many single commits and batches were answered: each of them waited for the disk."""

    async def commit(self, subject: str, body: bytes, *, msg_id: str) -> None:
        """Returns when the message is durable."""
        partition = subject.split(".")[1]
        one = _Waiting(subject, body, msg_id, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(partition, deque()).append(one)  # bounded by the callers, who wait
        if partition not in self._senders:
            self._senders[partition] = asyncio.ensure_future(self._send(partition))
        await one.done

    async def _send(self, partition: str) -> None:
        waiting = self._waiting[partition]
        try:
            while waiting:
                batch = [waiting.popleft() for _ in range(min(len(waiting), BATCH_MAX))]
                await self._settle(batch)
        finally:
            del self._senders[partition]

    async def _settle(self, batch: list[_Waiting]) -> None:
        """Together, or else one by one under the same ids: what is stored already is not stored again."""
        together = len(batch) > 1 and await self._together(batch)
        for one in batch:
            try:
                if not together:
                    await self._alone(one)
            except ParleyError as error:
                one.done.set_exception(error)
            else:
                one.done.set_result(None)
        self.commits += len(batch)

    async def _alone(self, one: _Waiting) -> PubAck:
        self.answers += 1
        return await self._bus.commit(one.subject, one.body, msg_id=one.msg_id)

    async def _together(self, batch: list[_Waiting]) -> bool:
        """Whether all were stored; False if none was, or if nobody knows."""
        name = secrets.token_hex(8)
        marks = [
            {"Nats-Msg-Id": one.msg_id, "Nats-Batch-Id": name, "Nats-Batch-Sequence": str(position)}
            for position, one in enumerate(batch, 1)
        ]
        last = batch[-1]
        try:
            for one, headers in zip(batch[:-1], marks[:-1], strict=True):
                await self._bus.publish(one.subject, one.body, headers=headers)
            reply = await self._bus.ask(
                last.subject, last.body, BATCH_TIMEOUT_S, marks[-1] | {"Nats-Batch-Commit": "1"}
            )
        except (TimeoutError, nats.errors.Error, Unavailable):
            return False
        self.answers += 1
        return "Status" not in reply.headers and "error" not in orjson.loads(reply.body)
