"""The senders: each owns some channels, and keeps a window of unanswered lines, in the file's order."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from infra.replay.rule import OWNER, BadLine, Line, Rule, Spread
from shared.client import Ack, Client, Origin
from shared.errors import ParleyError

QUEUE_LINES = 512
SETUP_AT_ONCE = 64
_ORIGIN_TIME = "1970-01-01T00:00:00Z"


@dataclass(slots=True)
class Sent:
    """What became of the lines."""

    new: int = 0
    duplicate: int = 0
    bad: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    heads: dict[str, int] = field(default_factory=dict)
    """The highest acked seq of each channel."""
    ack_s: array[float] = field(default_factory=lambda: array("f"))

    @property
    def done(self) -> int:
        """Lines with an answer."""
        return self.new + self.duplicate + self.bad + self.refused.total()

    def acked(self, ack: Ack) -> None:
        """Count an ack."""
        if ack.duplicate:
            self.duplicate += 1
        else:
            self.new += 1
        if ack.seq > self.heads.get(ack.channel, 0):
            self.heads[ack.channel] = ack.seq


class Sender:
    """One client and its queue of lines."""

    def __init__(self, client: Client, rule: Rule, sent: Sent, window: int) -> None:
        self._client = client
        self._rule = rule
        self._sent = sent
        self._window = window
        self._unanswered = 0
        self._room = asyncio.Event()
        self.queue: asyncio.Queue[tuple[str, Line] | None] = asyncio.Queue(QUEUE_LINES)

    async def run(self) -> None:
        """Send what is queued until None comes, then wait for every answer."""
        while (item := await self.queue.get()) is not None:
            await self._until(self._window)
            self._post(*item)
        await self._until(1)

    def _post(self, channel: str, line: Line) -> None:
        future = self._client.post(
            "send",
            channel,
            id=self._rule.line_id(line),
            origin=Origin(line.author, line.at),
            text=line.text,
        )
        self._unanswered += 1
        future.add_done_callback(partial(self._answered, time.perf_counter()))

    def _answered(self, posted_s: float, future: asyncio.Future[Ack]) -> None:
        self._unanswered -= 1
        self._room.set()
        error = future.exception()
        if error is None:
            self._sent.acked(future.result())
            self._sent.ack_s.append(time.perf_counter() - posted_s)
        else:
            self._sent.refused[error.code if isinstance(error, ParleyError) else repr(error)] += 1

    async def _until(self, below: int) -> None:
        while self._unanswered >= below:
            self._room.clear()
            await self._room.wait()


async def set_up(clients: Sequence[Client], rule: Rule, progress: Callable[[int], None]) -> None:
    """Create the channels and invite the receivers, under ids that make a second time harmless."""
    members: dict[int, list[int]] = {channel: [] for channel in range(rule.channels)}
    for receiver in range(rule.receivers):
        for channel in rule.memberships(receiver):
            members[channel].append(receiver)
    at_once = asyncio.Semaphore(SETUP_AT_ONCE)
    origin = Origin(OWNER, _ORIGIN_TIME)

    async def set_up_one(channel: int) -> None:
        client, name = clients[rule.sender_of(channel)], rule.channel_name(channel)
        async with at_once:
            await client.create_channel(
                "public", name, channel=name, id=rule.channel_id(channel, "created"), origin=origin
            )
            for receiver in members[channel]:
                user = receiver_name(receiver)
                await client.command(
                    "invite", name, id=rule.channel_id(channel, user), origin=origin, user=user, role="member"
                )
        progress(1)

    async with asyncio.TaskGroup() as group:
        for channel in range(rule.channels):
            group.create_task(set_up_one(channel))


async def send_all(
    clients: Sequence[Client], spread: Spread, lines: Iterable[Line | BadLine], sent: Sent, *, window: int
) -> None:
    """Every line to the sender that owns its channel; returns when every line has its answer."""
    rule = spread.rule
    names = [rule.channel_name(channel) for channel in range(rule.channels)]
    async with asyncio.TaskGroup() as group:
        senders = [Sender(client, rule, sent, window) for client in clients]
        for sender in senders:
            group.create_task(sender.run())
        for line in lines:
            if isinstance(line, BadLine):
                sent.bad += 1
                continue
            channel = spread.channel_of(line.number)
            await senders[rule.sender_of(channel)].queue.put((names[channel], line))
        for sender in senders:
            await sender.queue.put(None)


def receiver_name(receiver: int) -> str:
    """The user of a receiver."""
    return f"replay-receiver-{receiver:03d}"
