"""Which server leads which stream: an even spread as a plan, and moving a leader for real.

A leader steps down only while every copy is current: whoever takes over then has everything, and a second
fault finds a copy that can. The new leader is named (`placement.preferred`); where a server does not know
that field, or the named one does not win, the leader steps down again until it is where it should be.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infra.nats.stream_info import Placement, stream_info
from shared.bus import Bus, BusError
from shared.errors import Unavailable
from shared.retry import Deadline

_POLL_S = 0.1
_ELECTION_S = 2.0
"""After a step-down a new leader is there within tens of milliseconds, or the request was lost."""


@dataclass(frozen=True, slots=True)
class Move:
    """One leader from one server to another."""

    stream: str
    source: str
    target: str


def spread(leaders: Mapping[str, str], servers: Sequence[str]) -> list[Move]:
    """The fewest moves after which no server leads two streams more than another of `servers`.

    `leaders`: the leader of each stream. A leader that is not one of `servers` is moved to one.
    """
    where = dict(leaders)
    while (move := _next(where, servers)) is not None:
        where[move.stream] = move.target
    return [Move(stream, leaders[stream], to) for stream, to in where.items() if to != leaders[stream]]


def _next(where: Mapping[str, str], servers: Sequence[str]) -> Move | None:
    counts = loads(where, servers)
    least = min(servers, key=lambda server: counts[server])
    for stream, leader in where.items():
        if leader not in counts:
            return Move(stream, leader, least)
    most = max(servers, key=lambda server: counts[server])
    if counts[most] - counts[least] < 2:
        return None
    return Move(next(stream for stream, leader in where.items() if leader == most), most, least)


def loads(leaders: Mapping[str, str], servers: Sequence[str]) -> dict[str, int]:
    """How many streams each of `servers` leads."""
    counts = Counter(leaders.values())
    return {server: counts[server] for server in servers}


async def leader_of(bus: Bus, stream: str, deadline: Deadline) -> str:
    """The server that leads; raises `Unavailable` if there is none at the deadline."""
    while not (leader := (await _placement(bus, stream)).leader):
        if deadline.passed:
            raise Unavailable(f"{stream} has no leader")
        await asyncio.sleep(_POLL_S)
    return leader


async def settled(bus: Bus, stream: str, deadline: Deadline) -> Placement:
    """The placement once a server leads and every copy is current; raises `Unavailable` at the deadline."""
    while True:
        placement = await _placement(bus, stream)
        if placement.leader and not placement.behind:
            return placement
        if deadline.passed:
            why = f"{', '.join(placement.behind)} not current" if placement.leader else "no leader"
            raise Unavailable(f"{stream}: {why} in time; nothing more is moved (see `parley status`)")
        await asyncio.sleep(_POLL_S)


async def move_leader(bus: Bus, move: Move, deadline: Deadline, *, anywhere: bool = False) -> str:
    """Make `move.target` the leader, or with `anywhere` any server but `move.source`; returns the leader.

    Raises `Unavailable` if a copy is not current, or the leader not elsewhere, at the deadline.
    """
    while True:
        leader = (await settled(bus, move.stream, deadline)).leader or ""
        if leader == move.target or (anywhere and leader != move.source):
            return leader
        if deadline.passed:
            raise Unavailable(f"{move.stream}: {leader} still leads; {move.target} was to take over")
        await _step_down(bus, move, leader)
        await _replaced(bus, move.stream, leader, deadline)


async def _step_down(bus: Bus, move: Move, leader: str) -> None:
    """Ask once; whether it helped is seen, not believed: an answer can be lost with the leader."""
    operation = f"STREAM.LEADER.STEPDOWN.{move.stream}"
    try:
        await bus.api(operation, {"placement": {"preferred": move.target}})
    except BusError:
        # A server that does not know the field; or a repeated request, which the new leader refuses.
        if (await _placement(bus, move.stream)).leader == leader:
            with contextlib.suppress(BusError, Unavailable):
                await bus.api(operation, {})
    except Unavailable:
        return


async def _replaced(bus: Bus, stream: str, leader: str, deadline: Deadline) -> None:
    """Returns when another server leads, or when waiting for it makes no sense any more."""
    patience = Deadline.after(min(_ELECTION_S, deadline.left_s))
    while not patience.passed:
        if (await _placement(bus, stream)).leader not in {leader, "", None}:
            return
        await asyncio.sleep(_POLL_S)


async def _placement(bus: Bus, stream: str) -> Placement:
    try:
        return (await stream_info(bus, stream)).cluster
    except Unavailable:  # between two leaders nobody answers
        return Placement()
