"""The senders: each owns some channels, and keeps a window of unanswered lines, in the file's order."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from infra.replay.rule import OWNER, BadLine, Line, Rule, Spread
from shared.client import Ack, Client, Origin
from shared.errors import ParleyError

WAITING_LINES = 512
"""Lines of a sender that were read from the file before its window has room."""
LINES_AT_ONCE = 32
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
    """One client, and the lines that wait for room in its window, in their order."""

    def __init__(self, client: Client, rule: Rule, sent: Sent, window: int) -> None:
        self._client = client
        self._rule = rule
        self._sent = sent
        self._window = min(window, client.in_flight_max)
        self._unanswered = 0
        self._waiting: deque[tuple[str, Line]] = deque(maxlen=WAITING_LINES)
        self._moved = asyncio.Event()
        self._broken: BaseException | None = None

    async def send(self, channel: str, line: Line) -> None:
        """Take a line; waits while too many wait already."""
        while len(self._waiting) == WAITING_LINES:
            await self._until_moved()
        self._waiting.append((channel, line))
        self._fill()

    async def drained(self) -> None:
        """Wait until every line has its answer."""
        while self._unanswered or self._waiting:
            await self._until_moved()

    def _fill(self) -> None:
        while self._waiting and self._unanswered < self._window:
            channel, line = self._waiting.popleft()
            try:
                future = self._client.post(
                    "send",
                    channel,
                    id=self._rule.line_id(line),
                    origin=Origin(line.author, line.at),
                    text=line.text,
                )
            except ParleyError as error:
                self._sent.refused[error.code] += 1
                continue
            self._unanswered += 1
            future.add_done_callback(partial(self._answered, time.perf_counter()))

    def _answered(self, posted_s: float, future: asyncio.Future[Ack]) -> None:
        self._unanswered -= 1
        self._moved.set()
        error = future.exception()
        if error is None:
            self._sent.acked(future.result())
            self._sent.ack_s.append(time.perf_counter() - posted_s)
        elif isinstance(error, ParleyError):
            self._sent.refused[error.code] += 1
        else:  # a defect of the client, which ends with it: the lines that wait would wait for ever
            self._sent.refused[repr(error)] += 1
            self._broken = error
            return
        self._fill()

    async def _until_moved(self) -> None:
        if self._broken is None:
            self._moved.clear()
            await self._moved.wait()
        if self._broken is not None:
            raise self._broken


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
    senders = [Sender(client, rule, sent, window) for client in clients]
    for line in lines:
        if isinstance(line, BadLine):
            sent.bad += 1
            continue
        channel = spread.channel_of(line.number)
        await senders[rule.sender_of(channel)].send(names[channel], line)
        if line.number % LINES_AT_ONCE == 0:
            await asyncio.sleep(0)  # what has been posted goes out, what has come is read
    for sender in senders:
        await sender.drained()


def receiver_name(receiver: int) -> str:
    """The user of a receiver."""
    return f"replay-receiver-{receiver:03d}"
