"""`idle`: memory and CPU of an edge that does nothing, and of one that holds a thousand silent sessions.

Each repetition is an edge of its own, fresh from its start. Memory is resident memory with shared pages
included, so it counts the interpreter and libraries in full. The heartbeat is shortened to the length of
the measurement, so that each session is pinged once in it; by default it is five times rarer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.crowd import crowd
from tests.bench.load_client import open_session
from tests.bench.measure import CpuMeter, median, rss_bytes
from tests.bench.report import Figure
from tests.bench.system import System, running

NAME = "idle"
SESSIONS = 1000
RSS_MB_MAX = 120.0
KB_PER_SESSION_MAX = 12.0
SETTLE_S = 2.0
WATCH_S = 4.0
CHANNEL = "lobby"
MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Sample:
    rss_mb: float
    cpu_percent: float
    kb_per_session: float
    cpu_us_per_session: float
    held_cpu_percent: float
    rss_full_mb: float


async def measure(repetitions: int) -> list[Figure]:
    """One edge per repetition, at most eight at once."""
    edges = min(repetitions, 8)
    async with running(edges=edges, env={"PARLEY_HEARTBEAT_S": str(WATCH_S)}) as system:
        await asyncio.sleep(SETTLE_S)
        await _fill_channel(system)
        samples = [await _sample(system, number) for number in range(edges)]

    def figure(name: str, unit: str, pick: Callable[[_Sample], float], target: float | None = None) -> Figure:
        value = median(pick(sample) for sample in samples)
        return Figure(NAME, case, name, unit, value, edges, target=target)

    case = "no session"
    alone = [
        figure("RSS of an edge", "MB", lambda sample: sample.rss_mb, RSS_MB_MAX),
        figure("CPU of an edge", "% of a core", lambda sample: sample.cpu_percent),
    ]
    case = f"{SESSIONS:,} silent sessions in one channel"
    return [
        *alone,
        figure("RSS per session", "KB", lambda sample: sample.kb_per_session, KB_PER_SESSION_MAX),
        figure("RSS of the edge", "MB", lambda sample: sample.rss_full_mb),
        figure("CPU to accept one", "us", lambda sample: sample.cpu_us_per_session),
        figure(
            f"CPU, a heartbeat every {WATCH_S:g} s", "% of a core", lambda sample: sample.held_cpu_percent
        ),
    ]


async def _fill_channel(system: System) -> None:
    """Created on the last edge that is measured, so that the others have seen nothing yet."""
    owner = await open_session(system.edges[-1], system.token("owner"))
    await owner.ask({"type": "create_channel", "kind": "public", "channel": CHANNEL, "name": CHANNEL})
    for number in range(SESSIONS):
        await owner.ask({"type": "invite", "channel": CHANNEL, "user": _user(number)})
    owner.close()


async def _sample(system: System, number: int) -> _Sample:
    pid = system.pid(f"edge-{number + 1}")
    before = rss_bytes(pid)
    meter = CpuMeter(edge=pid)
    await asyncio.sleep(1.0)
    idle = meter.share("edge")
    async with crowd() as sessions:
        meter.restart()
        members = [(system.token(_user(user)), [CHANNEL]) for user in range(SESSIONS)]
        await sessions.open(system.edges[number], members)
        accept_us = meter.used_us("edge") / SESSIONS
        meter.restart()
        await asyncio.sleep(WATCH_S)
        held = meter.share("edge")
        full = rss_bytes(pid)
    return _Sample(
        rss_mb=before / MB,
        cpu_percent=100 * idle,
        kb_per_session=(full - before) / 1024 / SESSIONS,
        cpu_us_per_session=accept_us,
        held_cpu_percent=100 * held,
        rss_full_mb=full / MB,
    )


def _user(number: int) -> str:
    return f"u{number:04d}"
