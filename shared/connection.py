"""The NATS connection: core messages, requests, and one inbox that demultiplexes every reply.

Why not nats-py's JetStream client: `publish_async` never resolves on an API error, `js.publish` waits out
its whole time-out when the server dies and costs twice as much, its request mux can die after a slow
consumer, and it knows no batched Direct Get (measured 2026-11-25). So one subscription of our own takes
every reply, and every wait has a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Self

import nats.errors
import structlog

from shared.envelope import Message
from shared.errors import ParleyError, Unavailable
from shared.failures import failure_of
from shared.nats_client import NatsClient
from shared.questions import Questions
from shared.settings import CommonSettings
from shared.subjects import inbox_prefix

ANSWERS_MAX = 100_000

FLUSH_S = 5

PING_S = 2
"""A connection that is up and says nothing is given up after the third unanswered ping, 6 s at most.

With the usual 10 s it took 30 s, longer than a commit is tried (seen with a half-open connection)."""
_log = structlog.get_logger()


class Subscription:
    """A running core subscription."""

    def __init__(self, client: NatsClient, number: int) -> None:
        self._client = client
        self._number = number

    async def unsubscribe(self) -> None:
        """Stop; harmless on a closed connection."""
        self._client.unlisten(self._number)


class _Collecting:
    """The answers to one question, up to the first with a `Status`; TimeoutError after so much silence.

    One timer for all of them: when it is due and something was heard meanwhile, it is set again.
    """

    def __init__(self, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._heard_s = self._loop.time()
        self._answers: list[Message] = []
        self.over: asyncio.Future[list[Message]] = self._loop.create_future()
        self.timer = self._loop.call_later(timeout_s, self._look)

    def take(self, answer: Message) -> None:
        """One more."""
        self._heard_s = self._loop.time()
        self._answers.append(answer)
        if self.over.done():
            return
        if "Status" in answer.headers:
            self.over.set_result(self._answers)
        elif len(self._answers) > ANSWERS_MAX:
            self.over.set_exception(TimeoutError(f"more than {ANSWERS_MAX} answers"))

    def _look(self) -> None:
        left_s = self._heard_s + self._timeout_s - self._loop.time()
        if left_s > 0:
            self.timer = self._loop.call_later(left_s, self._look)
        elif not self.over.done():
            self.over.set_exception(TimeoutError())


class Connection:
    """One connection of one process. Open it with `connect`."""

    def __init__(self, client: NatsClient) -> None:
        self._client = client
        self.inbox = client.new_inbox()
        self._tokens = itertools.count(1)
        self._questions = Questions()
        self._collecting: dict[str, _Collecting] = {}
        self._reconnected: list[Callable[[], None]] = []
        self._serving: set[asyncio.Task[None]] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, settings: CommonSettings, name: str) -> AsyncIterator[Self]:
        """Connect, and keep reconnecting for ever. Waits until a server answers."""
        client = NatsClient()
        bus: Self | None = None

        async def on_reconnect() -> None:
            _log.info("bus.reconnected", server=str(client.connected_url and client.connected_url.netloc))
            for callback in tuple(bus._reconnected) if bus else ():
                callback()

        async def on_disconnect() -> None:
            if not client.is_closed:
                _log.warning("bus.disconnected")

        async def on_error(error: Exception) -> None:
            if not isinstance(error, OSError):  # a refused reconnect: on_disconnect has told already
                _log.warning("bus.failed", error=repr(error))

        await client.connect(
            servers=settings.nats_url.split(","),
            name=name,
            user=settings.nats_user or None,
            password=settings.nats_password or None,
            inbox_prefix=inbox_prefix(settings.nats_user),
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,  # type: ignore[arg-type]  # seconds to sleep
            connect_timeout=2,
            ping_interval=PING_S,
            max_outstanding_pings=2,
            pending_size=8 * 1024 * 1024,
            reconnected_cb=on_reconnect,
            disconnected_cb=on_disconnect,
            error_cb=on_error,
        )
        bus = cls(client)
        try:
            await bus.subscribe(f"{bus.inbox}.*", bus._on_reply)
            yield bus
        finally:
            for task in bus._serving:
                task.cancel()
            with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
                await client.close()

    @property
    def connected(self) -> bool:
        """Whether a server is connected right now."""
        return self._client.is_connected

    def on_reconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call after every reconnect (core messages may have been missed); returns how to end that."""
        self._reconnected.append(callback)
        return lambda: self._reconnected.remove(callback)

    async def publish(
        self, subject: str, body: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a core message: at most once, nobody answers. Raises `Unavailable` while disconnected."""
        try:
            self._client.send(subject, body, reply, headers)
        except nats.errors.Error as error:
            raise Unavailable(f"NATS: {error!r}", retry_after_ms=1000) from error

    async def subscribe(
        self, subject: str, callback: Callable[[Message], None], *, queue: str = ""
    ) -> Subscription:
        """Receive core messages in order, one quick call each, while the connection is read.

        Raises `Unavailable` if the connection is closed, or takes nothing more while it is away.
        """
        try:
            return Subscription(self._client, self._client.listen(subject, queue, callback))
        except nats.errors.Error as error:
            raise Unavailable(f"NATS: {error!r}", retry_after_ms=1000) from error

    async def flush(self) -> None:
        """Wait until the server has read what was sent, and subscribed to, before. Raises `Unavailable`."""
        try:
            await self._client.flush(FLUSH_S)
        except nats.errors.Error as error:
            raise Unavailable(f"NATS: {error!r}", retry_after_ms=1000) from error

    async def serve(
        self,
        subject: str,
        handler: Callable[[bytes], Awaitable[bytes]],
        *,
        queue: str = "",
        concurrency_max: int = 64,
    ) -> Subscription:
        """Answer requests; what exceeds `concurrency_max`, and every `ParleyError`, is answered `Failure`."""

        async def answer(message: Message) -> None:
            try:
                body = await handler(message.body)
            except ParleyError as error:
                body = failure_of(error)
            if message.reply:
                with contextlib.suppress(Unavailable):
                    await self.publish(message.reply, body)

        def receive(message: Message) -> None:
            if len(self._serving) >= concurrency_max:
                busy = Unavailable("too many requests at once", retry_after_ms=200)
                task = asyncio.ensure_future(self.publish(message.reply, failure_of(busy)))
            else:
                task = asyncio.ensure_future(answer(message))
            self._serving.add(task)
            task.add_done_callback(self._served)

        return await self.subscribe(subject, receive, queue=queue)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("bus.handler_failed", error=repr(error))

    async def request(self, subject: str, body: bytes, *, timeout_s: float) -> bytes:
        """Ask once. Raises `Unavailable` if nobody listens or nobody answers in time."""
        try:
            reply = await self.ask(subject, body, timeout_s)
        except (TimeoutError, nats.errors.Error) as error:
            raise Unavailable(f"no answer on {subject}", retry_after_ms=1000) from error
        if reply.headers.get("Status") == "503":
            raise Unavailable(f"nobody serves {subject}", retry_after_ms=1000)
        return reply.body

    async def collect(self, subject: str, body: bytes, *, timeout_s: float) -> list[Message]:
        """Ask once, take answers until one carries a `Status` header; that one is the last of the list.

        Raises `Unavailable` when `timeout_s` pass without an answer.
        """
        collecting = _Collecting(timeout_s)
        token = str(next(self._tokens))
        self._collecting[token] = collecting
        try:
            self._client.send(subject, body, f"{self.inbox}.{token}")
            return await collecting.over
        except (TimeoutError, nats.errors.Error) as error:
            raise Unavailable(f"no answer on {subject}", retry_after_ms=500) from error
        finally:
            collecting.timer.cancel()
            del self._collecting[token]

    async def ask(
        self, subject: str, body: bytes, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> Message:
        """Ask once, take the first answer, whatever it is. Raises TimeoutError or nats.errors.Error."""
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        def then(answer: Message | None) -> None:
            if future.done():  # nobody waits any more
                return
            if answer is None:
                future.set_exception(TimeoutError())
            else:
                future.set_result(answer)

        self.ask_soon(subject, body, timeout_s, headers, then)
        return await future

    def ask_soon(
        self,
        subject: str,
        body: bytes,
        timeout_s: float,
        headers: Mapping[str, str] | None,
        then: Callable[[Message | None], None],
    ) -> None:
        """`ask` without a task: `then` is called where the answer is read, or with None if none came.

        Raises nats.errors.Error if the question could not be sent; `then` is not called then.
        """
        token = str(next(self._tokens))
        self._client.send(subject, body, f"{self.inbox}.{token}", headers)
        self._questions.ask(token, timeout_s, then)

    def _on_reply(self, reply: Message) -> None:
        token = reply.subject.rpartition(".")[2]
        if not self._questions.answer(token, reply) and (found := self._collecting.get(token)) is not None:
            found.take(reply)
