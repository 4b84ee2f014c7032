"""The ladder of `path`: one offered load after the other, each higher, for Parley and for Centrifugo.

At every rate both take turns, so that whatever disturbs the machine disturbs both. Messages are due at fixed
times and their latency is counted from there (see `pace`). A server climbs on as long as it keeps up: what it
could not sustain has no latency to tell, only a backlog, and is left out.

Centrifugo keeps its history in the memory of one process, and its ack says no more than that; Parley's says
that the message is stored. So the two do not do the same work, and the names of Centrifugo's cases say it.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tests.bench.contenders import (
    CENTRIFUGO,
    CHANNELS,
    CLIENTS,
    PARLEY,
    Contender,
    Turn,
    centrifugo_with_history,
    parley,
)
from tests.bench.measure import median
from tests.bench.peers.centrifugo import VERSION
from tests.bench.peers.peer import Skipped
from tests.bench.plot import Plot
from tests.bench.report import Figure

NAME = "path"
RATES = (200, 500, 1000, 2000, 5000)
TURN_S, WARM_UP_S = 4.0, 2.0
TURNS_MAX = 3
THROUGH_MIN = 0.9
"""Of the offered rate: some tenths of a second after the last message was due, nothing may be waiting."""

JUDGED_PER_S, DELIVERY_P99_MS_MAX = 1000, 20.0
"""Whoever does not keep up with that rate misses it too."""

CASE = f"{CLIENTS:,} clients in {CHANNELS} channels"
PEER_CASE = f"Centrifugo {VERSION}, history in memory, not durable"
SHARES = ("p50", "p95", "p99", "p99.9")
CONTENDERS: Mapping[str, Callable[[], contextlib.AbstractAsyncContextManager[Contender]]] = {
    PARLEY: parley,
    CENTRIFUGO: centrifugo_with_history,
}

Climb = Mapping[int, Sequence[Turn]]
"""The turns at each rate that was tried, in ascending order."""

Pick = Callable[[Turn], float]


async def measure(repetitions: int) -> list[Figure | Plot]:
    """Both climb at the same time, each rate at most three times."""
    async with contextlib.AsyncExitStack() as stack:
        contenders: dict[str, Contender] = {}
        for name, start in CONTENDERS.items():
            try:
                contenders[name] = await stack.enter_async_context(start())
            except Skipped as error:
                _say(f"{name} skipped: {error}")
            else:
                await contenders[name].turn(RATES[0], WARM_UP_S)
        climbs: dict[str, dict[int, list[Turn]]] = {name: {} for name in contenders}
        for per_s in RATES:
            climbing = {name: one for name, one in contenders.items() if is_climbing(climbs[name])}
            for name, turns in (await _rung(climbing, per_s, min(repetitions, TURNS_MAX))).items():
                climbs[name][per_s] = turns
                if not keeps_up(turns):
                    _say(f"{name} does not keep up with {per_s:,} msg/s: {_why(turns)}")
    return [*figures_of(climbs), latency_plot(climbs)]


async def _rung(climbing: Mapping[str, Contender], per_s: int, repetitions: int) -> dict[str, list[Turn]]:
    """Turns at one rate, by server; no more of one that has not settled."""
    turns: dict[str, list[Turn]] = {name: [] for name in climbing}
    for _ in range(repetitions):
        for name in random.sample(list(climbing), len(climbing)):
            if all(map(is_settled, turns[name])):
                turns[name].append(await climbing[name].turn(per_s, TURN_S))
    return turns


# ---------------------------------------------------------------- who climbs on


def is_settled(turn: Turn) -> bool:
    """Whether nothing of this turn is left that the next one would meet."""
    return not (turn.refused or turn.unanswered or turn.wrong)


def keeps_up(turns: Sequence[Turn]) -> bool:
    """Whether all was acknowledged and delivered every time, and half of the times without a backlog."""
    return all(map(is_settled, turns)) and median(turn.through for turn in turns) >= THROUGH_MIN


def is_climbing(climb: Climb) -> bool:
    """Whether the next rate is worth a try."""
    return all(map(keeps_up, climb.values()))


def kept(climb: Climb) -> list[int]:
    """The rates that a server kept up with."""
    return [per_s for per_s, turns in climb.items() if keeps_up(turns)]


def _why(turns: Sequence[Turn]) -> str:
    refused, unanswered, wrong = (
        max(getattr(turn, what) for turn in turns) for what in ("refused", "unanswered", "wrong")
    )
    through, late_ms = (
        median(getattr(turn, what) for turn in turns) for what in ("through", "sender_late_ms")
    )
    return (
        f"{through:.0%} of it came through: {refused} refused, {unanswered} unanswered, {wrong} wrong; "
        f"senders {late_ms:,.0f} ms late (p99)"
    )


# ---------------------------------------------------------------- what is told


def figures_of(climbs: Mapping[str, Climb]) -> list[Figure]:
    """How far each came, and every rate that it kept up with: Parley's beside the other's, then that."""
    own, peer = climbs[PARLEY], climbs.get(CENTRIFUGO)
    figures = _heights(own, peer)
    for per_s in kept(own):
        beside = peer[per_s] if peer is not None and per_s in kept(peer) else None
        figures += _at_rate(f"{CASE}, {per_s:,} msg/s", own[per_s], beside, judged=per_s == JUDGED_PER_S)
    if peer is not None:
        for per_s in kept(peer):
            figures += _at_rate(f"{CASE}, {per_s:,} msg/s: {PEER_CASE}", peer[per_s], None, judged=False)
    return figures


def _heights(own: Climb, peer: Climb | None) -> list[Figure]:
    kept_up, turns = max(kept(own), default=0), [turn for rung in own.values() for turn in rung]
    repetitions = max(len(rung) for rung in own.values())
    other = max(kept(peer), default=0) if peer is not None else None
    return [
        Figure(
            bench=NAME,
            case=CASE,
            figure="kept up to",
            unit="msg/s",
            value=kept_up,
            repetitions=repetitions,
            reference=other,
            reference_name=CENTRIFUGO if other is not None else "",
            ratio=kept_up / other if other else None,
            target=JUDGED_PER_S,
            at_least=True,
        ),
        Figure(
            bench=NAME,
            case=CASE,
            figure="deliveries missing, doubled or out of order",
            unit="events",
            value=sum(turn.wrong for turn in turns),
            repetitions=repetitions,
            target=0,
        ),
    ]


def _at_rate(
    case: str, turns: Sequence[Turn], beside: Sequence[Turn] | None, *, judged: bool
) -> list[Figure]:
    """One rate of one server."""

    def figure(what: str, unit: str, pick: Pick, *, alone: bool = False, **more: object) -> Figure:
        if beside is not None and not alone:
            more |= {
                "reference": median(map(pick, beside)),
                "reference_name": CENTRIFUGO,
                "ratio": median(pick(turn) / pick(other) for turn, other in zip(turns, beside, strict=True)),
            }
        return Figure(NAME, case, what, unit, median(map(pick, turns)), len(turns), **more)  # type: ignore[arg-type]

    servers = list(turns[0].servers_us)
    return [
        *(figure(f"ack {share}", "ms", partial(_ack, share)) for share in SHARES),
        *(
            figure(
                f"delivery {share}",
                "ms",
                partial(_delivery, share),
                target=DELIVERY_P99_MS_MAX if judged and share == "p99" else None,
            )
            for share in SHARES
        ),
        *(
            figure(f"CPU of {name}", "us/message", partial(_server, name), alone=True)
            for name in servers
            if len(servers) > 1
        ),
        figure("CPU of all servers", "us/message", lambda turn: sum(turn.servers_us.values())),
        figure("CPU of the clients", "us/message", lambda turn: turn.load_us["clients"]),
        figure("CPU of the senders", "us/message", lambda turn: turn.load_us["senders"]),
        figure("sender late p99", "ms", lambda turn: turn.sender_late_ms, alone=True),
    ]


def _ack(share: str, turn: Turn) -> float:
    return turn.ack_ms[share]


def _delivery(share: str, turn: Turn) -> float:
    return turn.delivery_ms[share]


def _server(name: str, turn: Turn) -> float:
    return turn.servers_us[name]


def latency_plot(climbs: Mapping[str, Climb]) -> Plot:
    """Delivery of both over what was offered, up to where each kept up."""
    lines = {
        f"{name}: {share}": [
            (float(per_s), median(map(partial(_delivery, share), climb[per_s]))) for per_s in kept(climb)
        ]
        for name, climb in climbs.items()
        for share in ("p50", "p99")
    }
    title = f"Delivery to {CASE}, from when a message was due"
    return Plot(NAME, title, "offered msg/s", "ms", lines)


def _say(what: str) -> None:
    print(f"path: {what}", file=sys.stderr, flush=True)
