"""What climbs the ladder of `path`: a server, 1,000 clients in 50 channels of it, and those who write.

Each client is in one channel, and so hears a fiftieth of all messages. The writers are few, each a member of
every channel that it writes into; both servers are spoken to by the same client, in their own protocols.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from tests.bench.chunks import stamped
from tests.bench.crowd import SHARES, Crowd, Received, crowd
from tests.bench.deliveries import TEXT
from tests.bench.layout import create_channel
from tests.bench.load_client import LoadClient, open_session
from tests.bench.measure import CpuMeter, percentile
from tests.bench.pace import paced
from tests.bench.peers import centrifugo
from tests.bench.peers.centrifugo_client import open_subscriber
from tests.bench.system import System, running

CLIENTS, CHANNELS, SENDERS = 1000, 50, 10
MEMBERS = CLIENTS // CHANNELS
ANSWERS_S = 30.0
"""Longer than any server that keeps up needs for what was sent last."""

PARLEY = "Parley"
CENTRIFUGO = "Centrifugo, in memory"


@dataclass(frozen=True, slots=True)
class Turn:
    """One rate for some seconds. Latencies are counted from when a message was due, CPU is per message.

    `through`: the share of the offered rate at which everything was answered and delivered, at most 1.
    `wrong`: deliveries of acknowledged messages that are missing, and any that are doubled or out of order.
    """

    through: float
    refused: int
    unanswered: int
    wrong: int
    ack_ms: Mapping[str, float]
    delivery_ms: Mapping[str, float]
    servers_us: Mapping[str, float]
    load_us: Mapping[str, float]
    sender_late_ms: float


@dataclass(frozen=True, slots=True)
class Contender:
    """A server's processes by name, who writes, and who listens."""

    pids: Mapping[str, int]
    senders: Sequence[LoadClient]
    listeners: Crowd

    async def turn(self, per_s: float, seconds: float) -> Turn:
        """Send at this rate, whatever becomes of it; then wait, with a bound, for all that has to come."""
        count = int(per_s * seconds)
        sent = [0] * len(self.senders)
        due: list[int] = []
        for sender in self.senders:
            sender.reset()
        await self.listeners.reset()
        meter = CpuMeter(clients=self.listeners.pid, senders=os.getpid(), **self.pids)

        def act(number: int, due_ns: int) -> None:
            channel = number % CHANNELS
            place = channel % len(self.senders)
            sent[place] += 1
            due.append(due_ns)
            self.senders[place].send_message(name_of(channel), stamped(due_ns, TEXT), due_ns)

        late_ns = await paced(per_s, count, act)
        await self._answered(sent)
        acks, refused = (sum(getattr(one, what) for one in self.senders) for what in ("acks", "errors"))
        received = await self.listeners.report(acks * MEMBERS, within_s=ANSWERS_S)
        ack_ns = sorted(ns for sender in self.senders for ns in sender.ack_ns)
        return Turn(
            through=min(1.0, count / per_s * 1e9 / (received.until_ns - due[0])),
            refused=refused,
            unanswered=count - acks - refused,
            wrong=wrong_of(received, acks, count),
            ack_ms={name: percentile(ack_ns, share) / 1e6 for name, share in SHARES.items()} if acks else {},
            delivery_ms=received.late_ms,
            servers_us={name: meter.used_us(name) / count for name in self.pids},
            load_us={name: meter.used_us(name) / count for name in ("clients", "senders")},
            sender_late_ms=percentile(late_ns, 0.99) / 1e6,
        )

    async def _answered(self, sent: Sequence[int]) -> None:
        """Returns when all commands are answered, or nobody waits any longer."""

        async def each(sender: LoadClient, count: int) -> None:
            with contextlib.suppress(TimeoutError):
                await sender.until(lambda: sender.acks + sender.errors >= count, within_s=ANSWERS_S)

        await asyncio.gather(*map(each, self.senders, sent))


def wrong_of(received: Received, acks: int, sent: int) -> int:
    """Every acknowledged message reaches every member of its channel, every other one at most that often."""
    missing = max(0, acks * MEMBERS - received.events)
    doubled = max(0, received.events - sent * MEMBERS)
    return missing + doubled + received.gaps


@contextlib.asynccontextmanager
async def parley() -> AsyncIterator[Contender]:
    """Every process of a system of its own."""
    async with running() as system, crowd() as listeners:
        url = system.edges[0]
        senders = [await open_session(url, system.token(f"sender-{n}")) for n in range(SENDERS)]
        for channel in range(CHANNELS):
            await _create(senders[channel % SENDERS], channel)
        members = [(system.token(_user(n)), [name_of(n % CHANNELS)]) for n in range(CLIENTS)]
        await listeners.open(url, members)
        yield Contender(_pids(system), senders, listeners)
        for sender in senders:
            sender.close()


@contextlib.asynccontextmanager
async def centrifugo_with_history() -> AsyncIterator[Contender]:
    """One process, which is all that it needs. Raises `Skipped`."""
    async with centrifugo.serving(centrifugo.HISTORY) as server, crowd() as listeners:
        url = f"http://127.0.0.1:{server.port}"
        written = [[name_of(n) for n in range(first, CHANNELS, SENDERS)] for first in range(SENDERS)]
        senders = [await open_subscriber(url, channels) for channels in written]
        members = [("", [name_of(n % CHANNELS)]) for n in range(CLIENTS)]
        await listeners.open(url, members, server="centrifugo")
        yield Contender({"Centrifugo": server.pid}, senders, listeners)
        for sender in senders:
            sender.close()


def name_of(channel: int) -> str:
    """The same for both."""
    return f"load-{channel:02d}"


async def _create(owner: LoadClient, channel: int) -> None:
    name = name_of(channel)
    members = [_user(number) for number in range(channel, CLIENTS, CHANNELS)]
    await create_channel(owner, name, members)


def _user(number: int) -> str:
    return f"c{number:04d}"


def _pids(system: System) -> dict[str, int]:
    names = {"edge": "edge-1", "nats": "nats-1", "sequencer": "sequencer", "archiver": "archiver"}
    return {name: system.pid(process) for name, process in names.items()}
