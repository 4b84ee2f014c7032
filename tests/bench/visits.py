"""Crowds that come at once, from the parent's end: how far they go, how it went, and what it cost whom."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.child import Child, child
from tests.bench.connects_crowd import Goal
from tests.bench.layout import Layout
from tests.bench.measure import CpuMeter, connections
from tests.bench.storm_client import now
from tests.bench.storm_crowd import Record, address_of
from tests.bench.system import System
from tests.support.waiting import eventually

COME_WITHIN_S = 240.0
ASK_WITHIN_S = 60.0
_REST_S, _REST_SHARE = 0.5, 0.1
_REST_WITHIN_S = 120.0
EVENTS_MISSED = 4
"""Of each channel."""


@dataclass(frozen=True, slots=True)
class Stage:
    """How far they go. `known`: they are in channels, and have cursors; `missed`: events of each channel."""

    name: str
    said: str
    goal: Goal
    known: bool = False
    missed: int = 0


RESUMED = Stage("resumed", "cursors answered", "hello", known=True)
STAGES = (
    Stage("tcp", "connected", "tcp"),
    Stage("upgrade", "answered 101", "upgrade"),
    Stage("hello", "welcomed, in no channel", "hello"),
    RESUMED,
    Stage("missed", f"{EVENTS_MISSED} events of each channel", "hello", True, EVENTS_MISSED),
)


class CameAmiss(Exception):
    """Somebody did not come, was cut off, or saw a hole; the message says what the crowd told."""


class Coming(Record):
    """How one coming went, and when it began."""

    began_s: float


@dataclass(frozen=True, slots=True)
class Visit:
    """One coming: CPU in microseconds a client, by process, until all are there; and until the edge rests."""

    wall_s: float
    cpu_us: dict[str, float]
    rested_us: float
    refused: int
    replayed: int


class Guests:
    """A crowd in a process of its own."""

    def __init__(self, process: Child, count: int) -> None:
        self._process = process
        self.count = count

    @property
    def pid(self) -> int:
        """The crowd's process."""
        return self._process.pid

    async def come(self, url: str, goal: Goal) -> Coming:
        """All at once; returns when all are as far as `goal`. Raises `CameAmiss`."""
        question: dict[str, object] = {"come": url, "goal": goal, "within_s": COME_WITHIN_S}
        answer = await self._process.ask(question, COME_WITHIN_S + ASK_WITHIN_S)
        coming = Coming.model_validate(answer)
        there = len(coming.ready_s)
        if there < self.count or coming.losses or coming.gone or coming.breaches:
            amiss = coming.model_dump(exclude={"ready_s"})
            raise CameAmiss(f"{there} of {self.count} are there ({goal}): {amiss}")
        return coming

    async def leave(self) -> None:
        """All at once."""
        await self._process.ask({"leave": True}, ASK_WITHIN_S)


@dataclass(frozen=True, slots=True)
class Crowds:
    """The same number of users with channels, and without."""

    members: Guests
    strangers: Guests


@contextlib.asynccontextmanager
async def _crowd_of(guests: Sequence[tuple[str, int]]) -> AsyncIterator[Guests]:
    """A crowd of users, each by its token and the number of its channels."""
    async with child("tests.bench.connects_crowd") as process:
        await process.ask({"guests": list(guests)}, ASK_WITHIN_S)
        yield Guests(process, len(guests))


@contextlib.asynccontextmanager
async def crowds_of(system: System, layout: Layout) -> AsyncIterator[Crowds]:
    """Both crowds; nobody has come yet."""
    users = [layout.user(number) for number in range(layout.clients)]
    members = [(system.token(user), layout.channels_of_client) for user in users]
    strangers = [(system.token(f"stranger-{user}"), 0) for user in users]
    async with _crowd_of(members) as one, _crowd_of(strangers) as other:
        yield Crowds(one, other)


async def visit(system: System, crowd: Guests, goal: Goal) -> Visit:
    """The crowd comes to the first edge as far as `goal`, and leaves when the edge rests."""
    url, pid = system.edges[0], system.pid("edge-1")
    before = accepted(url)
    meter = CpuMeter(edge=pid, nats=system.pid("nats-1"), client=crowd.pid)
    coming = await crowd.come(url, goal)
    there_s = coming.ready_s[-1]
    if goal == "tcp":  # for its other end a connection is there before the edge has accepted it
        await all_accepted(url, before + crowd.count)
        there_s = now()
    cpu_us = {name: meter.used_us(name) / crowd.count for name in ("edge", "nats", "client")}
    await rest(pid)
    rested_us = meter.used_us("edge") / crowd.count
    await crowd.leave()
    await rest(pid, until=lambda: accepted(url) <= before)
    return Visit(there_s - coming.began_s, cpu_us, rested_us, coming.refused, coming.replayed)


def accepted(url: str) -> int:
    """How many connections an edge has."""
    _, port = address_of(url)
    return connections(Path("/proc/net/tcp").read_text(), port)


async def all_accepted(url: str, count: int) -> None:
    """Wait until an edge has so many connections."""
    await eventually(lambda: accepted(url) >= count, within_s=COME_WITHIN_S)


async def rest(pid: int, *, until: Callable[[], bool] = lambda: True) -> None:
    """Wait until a process has little to do, and `until` is true. Raises TimeoutError."""
    async with asyncio.timeout(_REST_WITHIN_S):
        while True:
            meter = CpuMeter(it=pid)
            await asyncio.sleep(_REST_S)
            if meter.share("it") < _REST_SHARE and until():
                return


def case_of(stage: Stage, layout: Layout) -> str:
    """The stage in the words of a report."""
    return f"{layout.clients:,} at once, {stage.name}: {stage.said}"
