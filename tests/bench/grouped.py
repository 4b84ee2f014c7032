"""What shared batches bring in the mode `power`: an edge that groups fresh commits, beside one that does not.

Two systems run at once and are loaded in turn, so that whatever disturbs the machine disturbs both. Both NATS
servers sync after every message; only the services of one are told another mode, in which an edge never
groups (`edge/group_commit.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from tests.bench.commits import nats_meter, nats_us
from tests.bench.load_client import LoadClient, open_session
from tests.bench.measure import median, percentile
from tests.bench.report import Figure
from tests.bench.system import System, running

SESSIONS, CHANNELS_OF_SESSION = 32, 32
"""Each channel has one sender, and one message unanswered: as many clients that write at once."""

TEXT = "x" * 180
MESSAGES_OF_CHANNEL = 4
ANSWER_S = 60.0


@dataclass(frozen=True, slots=True)
class Run:
    """Acks a second, the median of their times, and CPU per message."""

    per_s: float
    p50_ms: float
    edge_us: float
    nats_us: float


@dataclass(frozen=True, slots=True)
class _Load:
    system: System
    sessions: Sequence[tuple[LoadClient, Sequence[str]]]


async def measure(bench: str, repetitions: int) -> list[Figure]:
    """Both, in turn."""
    async with _loaded() as grouped, _loaded(PARLEY_DURABILITY="process") as single:
        for load in (grouped, single):  # warm-up
            await _run(load)
        pairs = [(await _run(grouped), await _run(single)) for _ in range(repetitions)]
        return [*_figures(bench, pairs), await _size(bench, grouped.system, repetitions)]


@contextlib.asynccontextmanager
async def _loaded(**env: str) -> AsyncIterator[_Load]:
    """A system in the mode `power` with sessions and their channels."""
    async with running(durability="power", env=env) as system:
        sessions = [await _session(system, number) for number in range(SESSIONS)]
        yield _Load(system, sessions)
        for session, _ in sessions:
            session.close()


async def _session(system: System, number: int) -> tuple[LoadClient, Sequence[str]]:
    session = await open_session(system.edges[0], system.token(f"many-{number}"))
    channels = [f"many-{number}-{channel}" for channel in range(CHANNELS_OF_SESSION)]
    for channel in channels:
        await session.ask({"type": "create_channel", "kind": "public", "channel": channel, "name": channel})
    return session, channels


async def _run(load: _Load) -> Run:
    """So many messages, from the first one sent to the last answer."""
    for session, _ in load.sessions:
        session.reset()
    meter = nats_meter(load.system, edge=load.system.pid("edge-1"))
    began = time.monotonic()
    await asyncio.gather(*(_send_all(*one) for one in load.sessions))
    taken_s = time.monotonic() - began
    taken_ns = sorted(ns for session, _ in load.sessions for ns in session.ack_ns)
    done = len(taken_ns)
    edge_us, nats = meter.used_us("edge") / done, nats_us(load.system, meter) / done
    return Run(done / taken_s, percentile(taken_ns, 0.5) / 1e6, edge_us, nats)


async def _send_all(session: LoadClient, channels: Sequence[str]) -> None:
    """As many unanswered as there are channels; when a quarter is answered, as many go out again."""
    total, sent = MESSAGES_OF_CHANNEL * len(channels), 0
    while sent < total:
        while sent < total and sent - _answered(session) < len(channels):
            session.send_message(channels[sent % len(channels)], TEXT)
            sent += 1
        some = min(total, sent - len(channels) + len(channels) // 4)
        await _answers(session, some)
    await _answers(session, total)


async def _answers(session: LoadClient, count: int) -> None:
    await session.until(lambda: _answered(session) >= count, within_s=ANSWER_S)


def _answered(session: LoadClient) -> int:
    return session.acks + session.errors


def _figures(bench: str, pairs: Sequence[tuple[Run, Run]]) -> list[Figure]:
    def beside(name: str, unit: str, field: str) -> Figure:
        grouped, single = ([float(getattr(run, field)) for run in runs] for runs in zip(*pairs, strict=True))
        return Figure(
            bench=bench,
            case=_case(),
            figure=name,
            unit=unit,
            value=median(grouped),
            repetitions=len(pairs),
            reference=median(single),
            reference_name="one by one",
            ratio=median(one / other for one, other in zip(grouped, single, strict=True)),
        )

    return [
        beside("acknowledged", "msg/s", "per_s"),
        beside("ack p50", "ms", "p50_ms"),
        beside("CPU of edge", "us/message", "edge_us"),
        beside("CPU of nats", "us/message", "nats_us"),
    ]


async def _size(bench: str, system: System, repetitions: int) -> Figure:
    """How many commits a batch had."""

    def metrics() -> str:
        with urllib.request.urlopen(f"{system.edges[0]}/metrics", timeout=30) as response:
            return str(response.read(), "utf-8")

    text = await asyncio.to_thread(metrics)
    total, count = (
        float(re.findall(rf"^parley_edge_group_commits_{part} (\S+)", text, re.MULTILINE)[0])
        for part in ("sum", "count")
    )
    size = total / count if count else 0.0
    return Figure(bench, _case(), "commits in a batch", "messages", size, repetitions)


def _case() -> str:
    return f"power: one edge, {SESSIONS * CHANNELS_OF_SESSION:,} senders in shared batches"
