"""A steady conversation whose silences are measured: clients that each send ten messages a second and read.

Every client writes in a channel of its own and reads that of the one before it, so the channels spread over
the partitions, and each silence belongs to one client. What is measured is what a person would see: the
longest time without an ack of one's own messages, or without a message of the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from shared.client import Ack, ChannelEvent, Client, Update, Verifier
from tests.support.waiting import eventually

EVERY_S = 0.1


@dataclass(slots=True)
class Steady:
    """One client: what it was acked, what it was delivered, and when it heard anything last."""

    name: str
    verifier: Verifier
    reads: str
    acked: list[int] = field(default_factory=list)
    delivered: int = 0
    """Events of the channel that it reads."""
    longest_s: float = 0.0
    """The longest silence since `forget`, of acks or of deliveries."""
    acked_at_s: float = 0.0
    delivered_at_s: float = 0.0

    def take(self, update: Update) -> None:
        """An update of the client."""
        self.verifier.record(update)
        if isinstance(update, ChannelEvent) and update.channel == self.reads:
            now_s = time.monotonic()
            self.delivered += 1
            self.longest_s = max(self.longest_s, now_s - self.delivered_at_s)
            self.delivered_at_s = now_s

    def answered(self, answer: asyncio.Future[Ack]) -> None:
        """An ack; an error stays with the future, which the writer looks at."""
        if answer.cancelled() or answer.exception() is not None:
            return
        now_s = time.monotonic()
        self.acked.append(answer.result().seq)
        self.longest_s = max(self.longest_s, now_s - self.acked_at_s)
        self.acked_at_s = now_s

    @property
    def silence_s(self) -> float:
        """The longest silence, one that still lasts included."""
        return max(self.longest_s, time.monotonic() - min(self.acked_at_s, self.delivered_at_s))

    def forget(self) -> None:
        """Begin to measure anew."""
        self.longest_s = 0.0
        self.acked_at_s = self.delivered_at_s = time.monotonic()


@dataclass(slots=True)
class Conversation:
    """All of them. The one before each in `clients` is whom it reads; the first reads the last."""

    clients: Sequence[Steady]
    writing: list[asyncio.Task[None]] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def forget(self) -> None:
        """Begin to measure anew."""
        for one in self.clients:
            one.forget()

    def silences_s(self) -> dict[str, float]:
        """The longest silence of each client since `forget`."""
        return {one.name: one.silence_s for one in self.clients}

    async def goes_on(self, messages: int) -> None:
        """Returns when everybody has been acked and delivered so many more."""
        wanted = [(one, len(one.acked) + messages, one.delivered + messages) for one in self.clients]
        await eventually(
            lambda: all(len(one.acked) >= a and one.delivered >= d for one, a, d in wanted), within_s=60
        )

    async def end(self) -> None:
        """Send nothing more; returns when all is acked and delivered. Raises what a client was refused."""
        self.over.set()
        await asyncio.gather(*self.writing)
        await eventually(lambda: self._has_caught_up, within_s=60)

    @property
    def _has_caught_up(self) -> bool:
        before = [self.clients[-1], *self.clients[:-1]]
        return all(
            one.verifier.channels[one.reads].last >= max(other.acked, default=0)
            for one, other in zip(self.clients, before, strict=True)
        )


def channel_of(number: int) -> str:
    """The channel in which this client writes."""
    return f"steady-{number}"


@contextlib.asynccontextmanager
async def conversing(urls: Sequence[str], tokens: Sequence[str]) -> AsyncIterator[Conversation]:
    """While the block runs they talk, until `end`. `tokens`: of the users `steady-0`, `steady-1` …"""
    clients = [
        Steady(channel_of(n), Verifier(channel_of(n)), channel_of((n - 1) % len(tokens)))
        for n in range(len(tokens))
    ]
    conversation = Conversation(clients)
    async with contextlib.AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(
                Client(urls, token, on_update=one.take, start="beginning", name="parley-steady")
            )
            for one, token in zip(clients, tokens, strict=True)
        ]
        for number, client in enumerate(opened):
            await client.create_channel("public", channel_of(number), channel=channel_of(number))
            reader = channel_of((number + 1) % len(opened))
            await client.command("invite", channel_of(number), user=reader, role="member")
        conversation.forget()
        conversation.writing = [
            asyncio.create_task(_write(client, one, conversation.over))
            for one, client in zip(clients, opened, strict=True)
        ]
        await eventually(lambda: all(one.reads in one.verifier.channels for one in clients))
        try:
            yield conversation
        finally:
            for task in conversation.writing:
                task.cancel()


async def _write(client: Client, one: Steady, over: asyncio.Event) -> None:
    """Ten a second, whether the ones before are answered or not."""
    answers: list[asyncio.Future[Ack]] = []
    due_s = time.monotonic()
    while not over.is_set():
        answer = client.post("send", one.name, text=f"{len(answers)}")
        answer.add_done_callback(one.answered)
        answers.append(answer)
        due_s += EVERY_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, due_s - time.monotonic())):
                await over.wait()
    await asyncio.gather(*answers)
