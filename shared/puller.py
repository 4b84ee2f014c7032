"""Following a stream with proof: every message from a position on, in order, each once, none missing.

An ordered consumer loses messages silently after a slow-consumer drop (150 of 2,000 arrived, no reset), so
this pulls: the server sends only what was asked for, and each message's sequence must be one above the last.
Anything else (a hole, a lost consumer, silence) leads to a new consumer at the last proven position.

One request is open at a time, of the kind that the server ends as soon as it has sent what it held, or, if it
held nothing, the first that comes. So messages come in bursts that are read and handled together: an open
request that stays open delivers each message by itself, which costs a wake-up each (shared/DESIGN.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Callable
from typing import Self

import orjson
import structlog

from shared.bus import Bus, BusError, Message, StoredMessage, Subscription
from shared.errors import LogRegressed, Unavailable
from shared.ids import StreamSeq
from shared.retry import delays

PULL_EXPIRES_S = 30
HEARTBEAT_S = 1
SILENCE_MAX_S = 3.5
"""Idle heartbeats come every second while a pull is open; longer silence means a dead consumer."""

_log = structlog.get_logger()


class Follower:
    """Iterate to get non-empty batches of consecutive messages, for ever.

    `async with Follower(bus, "LOG_0", start) as follower: async for batch in follower: …`
    Raises `LogRegressed` if the stream no longer holds `start` or has lost its end: numbers derived
    from it would be wrong. At most twice `batch_max` messages are buffered. `linger_s` trades latency for
    fewer and larger batches: so long it waits between two requests, unless `hurry` says that somebody waits.
    `proof_us`: the time of the message right before `start`, if known: proof that the log is the same.
    """

    def __init__(
        self,
        bus: Bus,
        stream: str,
        start: StreamSeq,
        *,
        batch_max: int = 500,
        linger_s: float = 0.0,
        proof_us: int = 0,
    ) -> None:
        self._bus = bus
        self._stream = stream
        self._next = start
        self._proof_us = proof_us
        self._batch_max = batch_max
        self._linger_s = linger_s
        self._request = orjson.dumps(
            {
                "batch": batch_max,
                "no_wait": True,
                "expires": PULL_EXPIRES_S * 1_000_000_000,
                "idle_heartbeat": HEARTBEAT_S * 1_000_000_000,
            }
        )
        self._buffer: deque[StoredMessage] = deque(maxlen=4 * batch_max)
        self._wake = asyncio.Event()
        self._hurried = asyncio.Event()
        self._broken = False
        self._open = 0
        """How many messages the open request may still bring; 0: none is open."""
        self._consumer = ""
        self._inbox: Subscription | None = None
        self._forget: Callable[[], None] = lambda: None

    @property
    def position(self) -> StreamSeq:
        """The sequence of the last message that was received."""
        return StreamSeq(self._next - 1)

    def hurry(self) -> None:
        """Somebody waits for what the stream holds by now: the next request does not linger."""
        self._hurried.set()

    async def __aenter__(self) -> Self:
        self._forget = self._bus.on_reconnect(self._on_reconnect)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._forget()
        await self._abandon()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[StoredMessage]:
        while not self._buffer:
            if self._broken or self._inbox is None:
                await self._resync()
            elif not self._open:
                await self._linger()
                await self._pull()
            await self._burst()
        batch = [self._buffer.popleft() for _ in range(min(len(self._buffer), self._batch_max))]
        if len(batch) == self._batch_max and not self._open:  # behind: the next ones come meanwhile
            await self._pull()
        return batch

    async def _linger(self) -> None:
        if self._linger_s and not self._hurried.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._linger_s):
                    await self._hurried.wait()

    async def _burst(self) -> None:
        """Wait until the open request has ended, or something is wrong."""
        while self._open and not self._broken:
            self._wake.clear()
            try:
                async with asyncio.timeout(SILENCE_MAX_S):
                    await self._wake.wait()
            except TimeoutError:
                _log.warning("follower.fell_silent", stream=self._stream, position=self.position)
                self._broken = True

    def _on_reconnect(self) -> None:
        """The consumer lived in the memory of the server that we lost."""
        self._break()

    async def _resync(self) -> None:
        """A fresh consumer right behind the last proven position; retries until the server lets it."""
        await self._abandon()
        for delay_s in delays(first_s=0.05, cap_s=2.0):
            try:
                await self._create()
                return
            except (BusError, Unavailable) as error:
                _log.warning("follower.resync_failed", stream=self._stream, error=error.message)
                await asyncio.sleep(delay_s)

    async def _create(self) -> None:
        info = await self._bus.api(f"STREAM.INFO.{self._stream}", {})
        state = info["state"]
        assert isinstance(state, dict)
        first, last = state["first_seq"], state["last_seq"]
        if first > self._next or last < self._next - 1:
            raise LogRegressed(f"{self._stream} holds {first}..{last}; its follower needs {self._next}")
        await self._prove(first)
        self._consumer = f"follow_{secrets.token_hex(6)}"
        config = {
            "name": self._consumer,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._next,
            "ack_policy": "none",
            "inactive_threshold": 60_000_000_000,
            "mem_storage": True,
            "num_replicas": 1,
        }
        await self._bus.api(
            f"CONSUMER.CREATE.{self._stream}.{self._consumer}",
            {"stream_name": self._stream, "config": config},
        )
        # The token keeps what an abandoned consumer still sends out of the new one's inbox.
        self._inbox = await self._bus.subscribe(self._reply_subject(), self._receive)
        self._broken = False
        self._open = 0
        await self._pull()

    async def _prove(self, first: int) -> None:
        """A log that was restored without its end may have grown again: look at what stands there."""
        if not self._proof_us or self.position < first:
            return
        stored = await self._bus.stored_at_leader(self._stream, self.position)
        if stored is None or stored.at_us != self._proof_us:
            raise LogRegressed(f"{self._stream} holds another message at {self.position} than it did")

    async def _abandon(self) -> None:
        if self._inbox is not None:
            await self._inbox.unsubscribe()
            self._inbox = None
            with contextlib.suppress(BusError, Unavailable):
                await self._bus.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._consumer}", b"")

    async def _pull(self) -> None:
        if self._broken:
            return
        self._open = self._batch_max
        self._hurried.clear()
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        try:
            await self._bus.publish(subject, self._request, reply=self._reply_subject())
        except Unavailable:
            self._broken = True

    def _reply_subject(self) -> str:
        return f"{self._bus.inbox}_{self._consumer}"

    def _receive(self, message: Message) -> None:
        if not message.reply.startswith("$JS.ACK."):
            self._on_status(message)
            return
        stored = _stored(message)
        if stored.stream_seq == self._next:
            self._next = StreamSeq(self._next + 1)
            self._proof_us = stored.at_us
            self._buffer.append(stored)
        elif stored.stream_seq > self._next:
            _log.warning("follower.hole_found", stream=self._stream, wanted=self._next, got=stored.stream_seq)
            self._break()
        self._open = max(0, self._open - 1)
        if not self._open:
            self._wake.set()

    def _on_status(self, message: Message) -> None:
        status = message.headers.get("Status")
        if status in {"404", "408"}:  # the request has ended: with all that there was, or with its time
            self._open = 0
        elif status != "100":
            self._broken = True
        self._wake.set()

    def _break(self) -> None:
        self._broken = True
        self._wake.set()


def _stored(message: Message) -> StoredMessage:
    """The position stands in the reply: `$JS.ACK[.domain.account].stream.consumer.n.seq.cseq.ns.…`."""
    tokens = message.reply.split(".")
    offset = 0 if len(tokens) == 9 else 2
    return StoredMessage(
        subject=message.subject,
        body=message.body,
        headers=message.headers,
        stream_seq=StreamSeq(int(tokens[5 + offset])),
        at_us=int(tokens[7 + offset]) // 1000,
    )
