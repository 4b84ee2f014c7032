"""`storm`: thousands of clients whose edge is killed come back to the other one, all at once.

Every client is in a few channels, and somebody goes on writing into all of them, so that each comes back
with cursors that have fallen behind. Counted from the kill: how soon which share is resumed, that is
welcomed, with all cursors answered and every number in its place. What the edge's CPU pays for a resumed
session stands beside what a client without a past costs: a hello without cursors, and the newest page of each
channel.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from edge.settings import EdgeSettings
from tests.bench.child import Child, child
from tests.bench.chunks import stamped
from tests.bench.layout import OWNER, Layout
from tests.bench.load_client import LoadClient, open_session
from tests.bench.measure import CpuMeter, median, percentile
from tests.bench.pace import paced
from tests.bench.plot import Plot
from tests.bench.report import Figure
from tests.bench.storm_client import now
from tests.bench.storm_crowd import Record
from tests.bench.system import System, running

NAME = "storm"
LAYOUT = Layout()
CLIENTS, CHANNELS_OF_CLIENT, CHANNELS = LAYOUT.clients, LAYOUT.channels_of_client, LAYOUT.channels
OPEN_PER_S = 250
OPEN_DEADLINE_S = 180.0
WRITES_PER_S = 40
WRITES_BEFORE = 200
STORM_S = 60.0
"""Longer than it may take: who is not back by then is lost for good."""

BACK_S_MAX = 10.0
PAGES = 200
MARKS_S = (0.5, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20)
SHARES = {"50 %": 0.5, "90 %": 0.9, "99 %": 0.99, "all": 1.0}
TEXT = "x" * 180
ADMISSION = {
    f"PARLEY_{name.upper()}": str(EdgeSettings.model_fields[name].default)
    for name in ("sessions_rate", "sessions_burst")
}
"""Here it is what is measured."""


class _Record(Record):
    behind: int = 0


@dataclass(frozen=True, slots=True)
class _Storm:
    back_s: list[float]
    record: _Record
    lost: int
    cold_us: float
    page_us: float
    resume_us: float
    nats_us: float
    load_us: float
    ack_ms: list[float]


async def measure(repetitions: int) -> list[Figure | Plot]:
    """A system of its own for every storm, at most three."""
    storms = [await _storm() for _ in range(min(repetitions, 3))]
    return [*_figures(storms), resumed_plot([storm.back_s for storm in storms], CLIENTS)]


def resumed_plot(storms: Sequence[Sequence[float]], clients: int) -> Plot:
    """The share of the clients that is resumed, over the seconds since the kill, a line for each storm."""
    lines = {
        f"storm {number}": [
            (0.0, 0.0),
            *((at_s, 100 * count / clients) for count, at_s in enumerate(sorted(back_s), 1)),
        ]
        for number, back_s in enumerate(storms, 1)
    }
    title = f"{clients:,} clients after kill -9 of their edge"
    return Plot(NAME, title, "seconds since the kill", "% of the clients resumed", lines)


async def _storm() -> _Storm:
    async with running(edges=2, env=ADMISSION) as system, child("tests.bench.storm_crowd") as crowd:
        writer = await open_session(system.edges[1], system.token(OWNER))
        await LAYOUT.create(writer)
        meter = CpuMeter(edge=system.pid("edge-1"))
        members = [(system.token(LAYOUT.user(number)), CHANNELS_OF_CLIENT) for number in range(CLIENTS)]
        opening = {"open": members, "url": system.edges[0], "per_s": OPEN_PER_S}
        opened = _Record.model_validate(await crowd.ask(opening, OPEN_DEADLINE_S))
        assert not opened.breaches, opened.breaches
        cold_us = meter.used_us("edge") / CLIENTS
        page_us = await _pages(system)
        storm = await _break(system, crowd, writer, cold_us, page_us)
        writer.close()
    return storm


async def _break(system: System, crowd: Child, writer: LoadClient, cold_us: float, page_us: float) -> _Storm:
    """Write, kill, write on until all are back; then everybody has to have everything."""
    await paced(WRITES_PER_S * 4, WRITES_BEFORE, lambda number, due_ns: _write(writer, number, due_ns))
    await crowd.ask({"flee_to": system.edges[1]}, 10.0)
    writer.reset()
    meter = CpuMeter(edge=system.pid("edge-2"), nats=system.pid("nats-1"), load=crowd.pid)
    os.kill(system.pid("edge-1"), signal.SIGKILL)
    killed_s = now()
    back = asyncio.create_task(crowd.ask({"resumed": STORM_S}, STORM_S + 10.0))
    written = 0
    while not back.done():
        await paced(WRITES_PER_S, WRITES_PER_S // 4, lambda n, due_ns: _write(writer, n, due_ns))
        written += WRITES_PER_S // 4
    record = _Record.model_validate(await back)
    used = {name: meter.used_us(name) / CLIENTS for name in ("edge", "nats", "load")}
    await writer.until(lambda: writer.acks + writer.errors >= written)
    assert not writer.errors, writer.last_error
    reach = {"reach": writer.heads(), "within_s": 30.0}
    after = _Record.model_validate(await crowd.ask(reach, 40.0))
    return _Storm(
        back_s=[at_s - killed_s for at_s in record.ready_s],
        record=record,
        lost=len(after.breaches) + after.behind,
        cold_us=cold_us,
        page_us=page_us,
        resume_us=used["edge"],
        nats_us=used["nats"],
        load_us=used["load"],
        ack_ms=sorted(ns / 1e6 for ns in writer.ack_ns),
    )


async def _pages(system: System) -> float:
    """What the newest page of one channel costs an edge that has the channel active."""
    headers = {"Authorization": f"Bearer {system.token(OWNER)}"}
    async with httpx.AsyncClient(base_url=system.edges[1], headers=headers) as http:
        meter = CpuMeter(edge=system.pid("edge-2"))
        for number in range(PAGES):
            answer = await http.get(f"/v1/channels/{LAYOUT.channel(number)}/events")
            answer.raise_for_status()
        return meter.used_us("edge") / PAGES


def _figures(storms: list[_Storm]) -> list[Figure]:
    count = len(storms)
    case = f"{CLIENTS:,} clients in {CHANNELS_OF_CLIENT} of {CHANNELS} channels, kill -9 of their edge"

    def figure(name: str, unit: str, pick: Callable[[_Storm], float], **more: object) -> Figure:
        value = median(pick(storm) for storm in storms)
        return Figure(NAME, case, name, unit, value, count, **more)  # type: ignore[arg-type]

    def back(share: float) -> Callable[[_Storm], float]:
        return lambda storm: percentile(_of_all(storm), share)

    resumed = [
        figure(f"{name} resumed after", "s", back(share), target=BACK_S_MAX if share == 1.0 else None)
        for name, share in SHARES.items()
    ]
    curve = [
        figure(f"share resumed after {mark_s:g} s", "%", lambda storm, mark_s=mark_s: _share(storm, mark_s))
        for mark_s in MARKS_S
    ]
    worst = [
        Figure(NAME, case, "events lost or out of order", "", max(s.lost for s in storms), count, target=0),
        Figure(
            NAME,
            case,
            "clients refused for good",
            "",
            max(CLIENTS - len(storm.back_s) for storm in storms),
            count,
            target=0,
        ),
    ]
    costs = [
        figure("upgrades answered 503", "", lambda storm: storm.record.refused),
        figure("events replayed", "", lambda storm: storm.record.replayed),
        figure(
            "CPU of the edge per resumed session",
            "us",
            lambda storm: storm.resume_us,
            reference=median(storm.cold_us + CHANNELS_OF_CLIENT * storm.page_us for storm in storms),
            reference_name="hello without cursors, and a page of each channel",
            ratio=median(s.resume_us / (s.cold_us + CHANNELS_OF_CLIENT * s.page_us) for s in storms),
            target=1.0,
            judged="ratio",
        ),
        figure("CPU of the edge per hello without cursors", "us", lambda storm: storm.cold_us),
        figure("CPU of nats per resumed session", "us", lambda storm: storm.nats_us),
        figure("CPU of a client per resumed session", "us", lambda storm: storm.load_us),
        figure("ack p50 during the storm", "ms", lambda storm: percentile(storm.ack_ms, 0.5)),
        figure("ack p99 during the storm", "ms", lambda storm: percentile(storm.ack_ms, 0.99)),
    ]
    return resumed + curve + worst + costs


def _of_all(storm: _Storm) -> list[float]:
    """When each client was back; who is not counts as the end of the measurement."""
    return storm.back_s + [STORM_S] * (CLIENTS - len(storm.back_s))


def _share(storm: _Storm, mark_s: float) -> float:
    return 100 * sum(at_s <= mark_s for at_s in storm.back_s) / CLIENTS


def _write(writer: LoadClient, number: int, due_ns: int) -> None:
    writer.send_message(LAYOUT.channel(number), stamped(due_ns, TEXT))
