"""`fan-out`: one channel with thousands of listeners: what a delivery costs, beside what it costs others.

A delivery is one message written to one connection. First figure: CPU of the server's process for each of
them, with messages one by one (each is with everybody before the next is sent) and in bursts. All servers
run at the same time and take turns, with the same load process, the same text and about the same frame; a
ratio is the median of the ratios within a turn. A server that loses, doubles or swaps a single message for a
single listener counts for nothing.

Peers that need what is not installed (a C compiler, node and npm, Go) are left out, and it says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared import events as e
from shared.clock import now_us
from shared.ids import ChannelId, ChannelKey, Seq, StreamSeq, UserId, WorkspaceId, new_command_id
from shared.wire_form import wire
from tests.bench.listeners import Listeners, listeners
from tests.bench.marks import marked
from tests.bench.measure import CpuMeter, median
from tests.bench.peers import centrifugo, parley, plain
from tests.bench.peers.peer import Encode, Missing, Peer, Skipped
from tests.bench.report import Figure
from tests.bench.system import WORKSPACE

NAME = "fan-out"
SIZES = (1000, 5000, 9000)
ROUNDS = 10
GAP_S = 0.025
BURST_DELIVERIES = 200_000
BURST_MESSAGES_MIN = 40
TEXT = "x" * 120
DEADLINE_S = 120.0
SPARE_DESCRIPTORS = 200

PARLEY, SEND_LOOP = "Parley's edge", "send(2) loop in C"
Start = Callable[[int, Encode], contextlib.AbstractAsyncContextManager[Peer]]
PEERS: dict[str, Start] = {
    PARLEY: parley.parley,
    SEND_LOOP: plain.send_loop,
    "Centrifugo": centrifugo.centrifugo,
    "socket.io": plain.socket_io,
    "ws": plain.ws,
    "websockets.broadcast": plain.websockets_broadcast,
    "Starlette loop": plain.starlette_loop,
}
JUDGED_SIZE = 5000
RATIOS_MAX = {SEND_LOOP: 1.3, "Centrifugo": 1.0, "socket.io": 1.0, "ws": 1.0}
"""Of the CPU of a delivery, one by one."""

BURST_PER_S_MIN = 700_000.0
PROBE_GAP_S = 0.002
STALLED_SIZE, STALL_MS_MAX = 9000, 40.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One way to send, by one server: CPU microseconds a delivery by process, and until all had it."""

    cpu_us: dict[str, float]
    all_ms: float


@dataclass(frozen=True, slots=True)
class Sample:
    """What one server did in one repetition. `probe_ms`: the longest that a probe waited meanwhile."""

    singly: Turn
    burst: Turn
    probe_ms: float


class Stage:
    """A server with its listeners."""

    def __init__(self, peer: Peer, crowd: Listeners, size: int) -> None:
        self._peer = peer
        self._crowd = crowd
        self._size = size
        self._number = 0
        self._meter = CpuMeter(server=peer.pid, load=crowd.pid, **peer.others)
        self._names = ("server", "load", *peer.others)

    async def sample(self) -> Sample:
        """Raises `Missing`."""
        singly, burst = await self.turn(ROUNDS, 1), await self.turn(1, burst_of(self._size))
        return Sample(singly, burst, await self._longest_probe_ms())

    async def _longest_probe_ms(self) -> float:
        """While messages go out one by one; 0.0 for a server that answers no probes."""
        if self._peer.probed_ms is None:
            return 0.0
        longest_ms = 0.0
        sending = asyncio.create_task(self.turn(ROUNDS, 1))
        try:
            while not sending.done():
                longest_ms = max(longest_ms, await self._peer.probed_ms())
                await asyncio.sleep(PROBE_GAP_S)
            await sending
        finally:
            sending.cancel()
        return longest_ms

    async def turn(self, rounds: int, messages: int) -> Turn:
        """So many times so many messages at once. Raises `Missing`."""
        await asyncio.sleep(GAP_S)
        self._meter.restart()
        taken_ms = []
        for _ in range(rounds):
            taken_ms.append(await self._publish(messages))
            await asyncio.sleep(GAP_S)
        deliveries = rounds * messages * self._size
        cpu_us = {name: self._meter.used_us(name) / deliveries for name in self._names}
        return Turn(cpu_us, median(taken_ms))

    async def _publish(self, count: int) -> float:
        """Milliseconds until everybody has all of them."""
        texts = [marked(self._number + turn, TEXT) for turn in range(1, count + 1)]
        self._number += count
        reaching = asyncio.create_task(self._crowd.reach(self._number, DEADLINE_S))
        try:
            began_ns = time.monotonic_ns()
            await self._peer.publish(texts)
            reached = await reaching
        finally:
            reaching.cancel()
        if reached.behind or reached.fault:
            raise Missing(f"{reached.behind} of {self._size} behind, {reached.fault or 'none out of order'}")
        return (reached.at_ns - began_ns) / 1e6


async def measure(repetitions: int) -> list[Figure]:
    """Every size on servers of its own."""
    figures: list[Figure] = []
    for size in SIZES:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < size + SPARE_DESCRIPTORS:
            _say(f"{size:,} members skipped: a process may open only {soft:,} descriptors here (ulimit -n)")
            continue
        _say(f"{size:,} members …")
        figures += figures_of(size, await _samples(size, repetitions))
    return figures


async def _samples(size: int, repetitions: int) -> list[dict[str, Sample]]:
    """By server, for each repetition; only those that delivered everything every time."""
    samples: list[dict[str, Sample]] = [{} for _ in range(repetitions)]
    async with contextlib.AsyncExitStack() as stack:
        stages: dict[str, Stage] = {}
        for name, start in PEERS.items():
            try:
                peer = await stack.enter_async_context(start(size, message))
                crowd = await stack.enter_async_context(listeners())
                await crowd.open(peer.port, peer.dialect, peer.arguments)
                stages[name] = Stage(peer, crowd, size)
                await stages[name].turn(2, 1)  # warm-up
            except (Skipped, Missing) as error:
                _left_out(stages, name, size, error)
        for sample in samples:
            for name in random.sample(list(stages), len(stages)):
                try:
                    sample[name] = await stages[name].sample()
                except Missing as error:
                    _left_out(stages, name, size, error)
    return [{name: sample[name] for name in stages} for sample in samples]


def _left_out(stages: dict[str, Stage], name: str, size: int, error: Exception) -> None:
    if name == PARLEY:
        raise error
    stages.pop(name, None)
    _say(f"{size:,} members, {name} skipped: {error}")


def figures_of(size: int, samples: Sequence[dict[str, Sample]]) -> list[Figure]:
    """The edge's figures beside those of each peer."""
    judged = RATIOS_MAX if size == JUDGED_SIZE else {}
    case = f"{size:,} members, one by one"
    singly = [{name: sample.singly for name, sample in turn.items()} for turn in samples]
    burst = [{name: sample.burst for name, sample in turn.items()} for turn in samples]
    in_burst = f"{size:,} members, bursts of {burst_of(size)}"
    per_s = [1e6 / turn[PARLEY].cpu_us["server"] for turn in burst]
    return [
        *_beside_peers(case, singly, judged),
        *_costs(case, singly),
        Figure(
            NAME,
            case,
            "longest answer to a probe meanwhile",
            "ms",
            median(turn[PARLEY].probe_ms for turn in samples),
            len(samples),
            target=STALL_MS_MAX if size == STALLED_SIZE else None,
        ),
        *_beside_peers(in_burst, burst, {}),
        Figure(
            NAME,
            in_burst,
            "deliveries a second of one core",
            "/s",
            median(per_s),
            len(samples),
            target=BURST_PER_S_MIN,
            at_least=True,
        ),
        *_costs(in_burst, burst),
    ]


def _beside_peers(case: str, turns: Sequence[dict[str, Turn]], ratios_max: dict[str, float]) -> list[Figure]:
    """The CPU of a delivery, and how long until all have it, one line for each peer."""

    def against(
        figure: str, unit: str, pick: Callable[[Turn], float], peer: str, target: float | None
    ) -> Figure:
        return Figure(
            bench=NAME,
            case=case,
            figure=figure,
            unit=unit,
            value=median(pick(turn[PARLEY]) for turn in turns),
            repetitions=len(turns),
            reference=median(pick(turn[peer]) for turn in turns),
            reference_name=peer,
            ratio=median(pick(turn[PARLEY]) / pick(turn[peer]) for turn in turns),
            target=target,
            judged="ratio",
        )

    def cpu(turn: Turn) -> float:
        return turn.cpu_us["server"]

    peers = [name for name in turns[0] if name != PARLEY]
    if not peers:
        return [
            Figure(
                NAME, case, "CPU of edge", "us/delivery", median(cpu(t[PARLEY]) for t in turns), len(turns)
            )
        ]
    return [
        *(against("CPU of edge", "us/delivery", cpu, peer, ratios_max.get(peer)) for peer in peers),
        *(against("until all have it", "ms", lambda turn: turn.all_ms, peer, None) for peer in peers),
    ]


def _costs(case: str, turns: Sequence[dict[str, Turn]]) -> list[Figure]:
    """What else works for a delivery."""
    return [
        Figure(
            NAME,
            case,
            f"CPU of {what}",
            "us/delivery",
            median(turn[PARLEY].cpu_us[name] for turn in turns),
            len(turns),
        )
        for name, what in (("nats", "nats"), ("load", "the load"))
    ]


def burst_of(size: int) -> int:
    """Messages at once: as many deliveries whatever the size, so that every turn is as long.

    But so many that most of them are written with others: the first always has a round of its own.
    """
    return max(BURST_MESSAGES_MIN, BURST_DELIVERIES // size)


def message(text: str) -> bytes:
    """The event that Parley makes of a text, which the others send as it is."""
    key = ChannelKey(WorkspaceId(WORKSPACE), ChannelId(parley.CHANNEL))
    posted = e.MessagePosted(id=new_command_id(now_us() // 1000), author=UserId("owner"), text=text)
    return wire(e.Recorded(key, Seq(10_000), StreamSeq(10_000), now_us(), posted))


def _say(what: str) -> None:
    print(f"fan-out: {what}", file=sys.stderr, flush=True)
