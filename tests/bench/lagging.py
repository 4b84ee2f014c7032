"""`lagging`: a client stops to read among a hundred who go on: what is held for it, and what they notice.

Turns come in pairs, with the same traffic: in one everybody reads, in the other somebody is stalled, who then
reads on and must get everything in order. A turn is shorter than the time after which a stalled client is
closed. What is held in the edge is what it says of its write buffers; everything else that a stalled client
costs there shows in resident memory, which is looked at with fifty of them, because memory comes in pages. In
the kernel it is the send queue of the edge's socket; the client's own receive buffer is kept small.

Once that is known the stalled read a third of it and stall again: the edge has begun to feed them what they
missed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from tests.bench.chunks import stamped
from tests.bench.crowd import Crowd, Received, crowd
from tests.bench.deliveries import acknowledged
from tests.bench.layout import create_channel
from tests.bench.load_client import LoadClient, open_session
from tests.bench.measure import median, metric, rss_bytes, send_queue_bytes
from tests.bench.pace import paced
from tests.bench.report import Figure
from tests.bench.system import System, running

NAME = "lagging"
HEALTHY, STALLED_MANY = 100, 50
PER_S, SECONDS = 100.0, 2.5
WARM_UP_PER_S, WARM_UP_MESSAGES = 400.0, 1_200
"""Enough for the channel's ring to be full."""

TEXT = "x" * 1000
CHANNEL = "room"
RECEIVE_BUFFER_BYTES = 32 * 1024
USER_KB_MAX, KERNEL_KB_MAX, P99_RATIO_MAX = 32.0, 160.0, 1.2
READ_ON_S = 30.0
KB = 1024


@dataclass(frozen=True, slots=True)
class Turn:
    """The healthy clients' delivery, and what is held for the stalled ones at its end, in KB each."""

    received: Received
    user_kb: float
    again_kb: float
    kernel_kb: float
    rss_kb: float
    lost: int


Pair = tuple[Turn, Turn]
"""Everybody reads; some are stalled."""


class _Stage:
    """The channel, who writes into it, and the clients that can be stalled."""

    def __init__(self, system: System, owner: LoadClient, healthy: Crowd) -> None:
        self._system = system
        self._owner = owner
        self._healthy = healthy
        self.stallers: list[LoadClient] = []

    async def open_stallers(self, count: int) -> None:
        """So many are connected from now on."""
        for number in range(len(self.stallers), count):
            client = await open_session(self._system.edges[0], self._system.token(_user("s", number)))
            await client.until_member({CHANNEL})
            self.stallers.append(client)

    async def pair(self) -> Pair:
        """Both ways, whichever comes first."""
        first = random.random() < 0.5
        turns = {stalled: await self.turn(stalled=stalled) for stalled in (first, not first)}
        return turns[False], turns[True]

    async def turn(
        self, *, stalled: bool, per_s: float = PER_S, messages: int = int(PER_S * SECONDS)
    ) -> Turn:
        """So many messages to everybody. At its end the stalled have read everything as well."""
        for client in (self._owner, *self.stallers):
            client.reset()
        await self._healthy.reset()
        ports = [client.stall(RECEIVE_BUFFER_BYTES) for client in self.stallers] if stalled else []
        await paced(
            per_s, messages, lambda _, due_ns: self._owner.send_message(CHANNEL, stamped(due_ns, TEXT))
        )
        received = await self._healthy.report(messages * HEALTHY, within_s=30.0)
        await acknowledged(self._owner, messages)
        held = sum(send_queue_bytes(server, client) for server, client in ports)
        unsent = await self._unsent_bytes()
        again = await self._stalled_again(messages) if stalled else 0.0
        rss = rss_bytes(self._system.pid("edge-1"))
        for client in self.stallers if stalled else ():
            client.read_on()
        count = max(1, len(ports))
        return Turn(
            received=received,
            user_kb=unsent / KB / count,
            again_kb=again / KB / count,
            kernel_kb=held / KB / count,
            rss_kb=rss / KB,
            lost=await self._lost(messages) + messages * HEALTHY - received.events + received.gaps,
        )

    async def _stalled_again(self, messages: int) -> float:
        """They read a third of what they miss, and stop again: what is unsent then."""

        async def read_some(client: LoadClient) -> None:
            assert client.events < messages, "nobody was stalled"
            some = client.events + (messages - client.events) // 3
            client.read_on(RECEIVE_BUFFER_BYTES)
            await client.until(lambda: client.events >= some or client.closed.done(), within_s=READ_ON_S)
            assert not client.closed.done(), f"closed with {client.closed_with} {client.last_error}"
            client.stall(RECEIVE_BUFFER_BYTES)

        await asyncio.gather(*(read_some(client) for client in self.stallers))
        return await self._unsent_bytes()

    async def _lost(self, messages: int) -> int:
        """Events that the clients of the parent do not get within their time, or get out of order."""

        async def read_all(client: LoadClient) -> None:
            await client.until(lambda: client.events >= messages or client.closed.done(), within_s=READ_ON_S)

        async with asyncio.timeout(READ_ON_S):
            for client in self.stallers:
                await read_all(client)
        return sum(messages - client.events + client.gaps for client in self.stallers)

    async def _unsent_bytes(self) -> float:
        async with httpx.AsyncClient(base_url=self._system.edges[0]) as http:
            answer = await http.get("/metrics")
        return metric(answer.text, "parley_edge_unsent_bytes")


async def measure(repetitions: int) -> list[Figure]:
    """One stalled client, then fifty."""
    async with running(durability="process") as system, crowd() as healthy:
        owner = await open_session(system.edges[0], system.token("owner"))
        users = [_user("h", number) for number in range(HEALTHY)]
        stalled = [_user("s", number) for number in range(STALLED_MANY)]
        await create_channel(owner, CHANNEL, [*users, *stalled])
        await healthy.open(system.edges[0], [(system.token(user), [CHANNEL]) for user in users])
        stage = _Stage(system, owner, healthy)
        await stage.turn(stalled=False, per_s=WARM_UP_PER_S, messages=WARM_UP_MESSAGES)
        await stage.open_stallers(1)
        await stage.pair()
        one = [await stage.pair() for _ in range(repetitions)]
        await stage.open_stallers(STALLED_MANY)
        await stage.pair()
        many = [await stage.pair() for _ in range(repetitions)]
        for client in (owner, *stage.stallers):
            client.close()
    return [*figures_of_one(one), *figures_of_many(many)]


def figures_of_one(pairs: Sequence[Pair]) -> list[Figure]:
    """What one stalled client costs, and whether the others notice."""
    case = f"1 stalled beside {HEALTHY}"

    def late(share: str, ratio_max: float | None) -> Figure:
        return Figure(
            bench=NAME,
            case=case,
            figure=f"delivery {share} of the others",
            unit="ms",
            value=median(stalled.received.late_ms[share] for _, stalled in pairs),
            repetitions=len(pairs),
            reference=median(reading.received.late_ms[share] for reading, _ in pairs),
            reference_name="all read",
            ratio=median(
                stalled.received.late_ms[share] / reading.received.late_ms[share]
                for reading, stalled in pairs
            ),
            target=ratio_max,
            judged="ratio",
        )

    return [*_held(case, pairs), late("p50", None), late("p99", P99_RATIO_MAX), _lost(case, pairs)]


def figures_of_many(pairs: Sequence[Pair]) -> list[Figure]:
    """What a stalled client costs the edge's memory."""
    case = f"{STALLED_MANY} stalled beside {HEALTHY}"
    growth_kb = median((stalled.rss_kb - reading.rss_kb) / STALLED_MANY for reading, stalled in pairs)
    return [
        *_held(case, pairs),
        Figure(NAME, case, "RSS of edge", "KB/stalled", growth_kb, len(pairs), target=USER_KB_MAX),
        _lost(case, pairs),
    ]


def _held(case: str, pairs: Sequence[Pair]) -> list[Figure]:
    def most(name: str, pick: Callable[[Turn], float], target: float) -> Figure:
        worst = max(pick(stalled) for _, stalled in pairs)
        return Figure(NAME, case, name, "KB/stalled", worst, len(pairs), target=target)

    return [
        most("unsent in the edge, at most", lambda turn: turn.user_kb, USER_KB_MAX),
        most("the same, stalled again", lambda turn: turn.again_kb, USER_KB_MAX),
        most("unsent in the kernel, at most", lambda turn: turn.kernel_kb, KERNEL_KB_MAX),
    ]


def _lost(case: str, pairs: Sequence[Pair]) -> Figure:
    worst = max(turn.lost for pair in pairs for turn in pair)
    return Figure(NAME, case, "events lost or out of order", "", worst, len(pairs), target=0)


def _user(kind: str, number: int) -> str:
    return f"{kind}{number:04d}"
