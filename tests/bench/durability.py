"""`durability`: what each mode costs: `process`, `power`, and `quorum` on three servers.

Each mode is a system of its own. `ack` is one client at a low rate, in turns with bare commits of the same
event in the same log. The highest throughput is what many sessions get, each with a bounded number of
unanswered messages and channels of its own; right after it come bare commits with as many unanswered.
`disk` is what a write and an fsync take where the logs are kept: where fsync is free, as on tmpfs, `power`
and `process` look alike.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.nats.config import Durability
from tests.bench.chunks import stamped
from tests.bench.load_client import LoadClient, open_session
from tests.bench.measure import CpuMeter, median, percentile
from tests.bench.pace import paced
from tests.bench.reference import BareCommit
from tests.bench.report import Figure
from tests.bench.system import System, running

NAME = "durability"
TEXT = "x" * 180
MODES: Mapping[Durability, int] = {"process": 1, "power": 1, "quorum": 3}
"""Each with its number of NATS servers."""

ACK_PER_S, ACK_SECONDS = 200, 0.8
SESSIONS, CHANNELS_OF_SESSION = 8, 4
IN_FLIGHT_OF_SESSION = 32
RAMP_S, EDGE_SECONDS, BARE_SECONDS = 0.2, 1.2, 0.8
FSYNCS, FSYNC_BYTES = 200, 400


@dataclass(frozen=True, slots=True)
class _Ack:
    edge_ms: Mapping[str, float]
    bare_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Throughput:
    edge_per_s: float
    bare_per_s: float
    cpu_us: Mapping[str, float]
    bare_nats_us: float


@dataclass(frozen=True, slots=True)
class _Load:
    """The sessions and the bare commits of one system."""

    system: System
    one: LoadClient
    many: Sequence[tuple[LoadClient, Sequence[str]]]
    bare: BareCommit
    bare_many: Sequence[BareCommit]


async def measure(repetitions: int) -> list[Figure]:
    """Every mode, one after the other."""
    figures = [_disk(repetitions)]
    for mode, servers in MODES.items():
        async with running(durability=mode, nats=servers) as system, system.bus() as bus:
            load = _Load(
                system=system,
                one=await _sender(system, "one", ["ack"]),
                many=[
                    (await _sender(system, f"many-{n}", channels), channels)
                    for n, channels in enumerate(_channels())
                ],
                bare=BareCommit(bus, system.run.partitions),
                bare_many=[
                    BareCommit(bus, system.run.partitions, f"bare-{name}")
                    for channels in _channels()
                    for name in channels
                ],
            )
            figures += await _mode(mode, load, repetitions)
            for session, _ in ((load.one, ()), *load.many):
                session.close()
    return figures


async def _mode(mode: Durability, load: _Load, repetitions: int) -> list[Figure]:
    await _ack(load, ACK_PER_S // 3)  # warm-up
    await _edge_throughput(load, seconds=0.2)
    acks, throughputs = [], []
    for _ in range(repetitions):
        acks.append(await _ack(load, int(ACK_PER_S * ACK_SECONDS)))
        throughputs.append(await _throughput(load))
    return [
        *(_ack_figure(mode, acks, share) for share in ("p50", "p99")),
        *_throughput_figures(mode, throughputs),
    ]


# ---------------------------------------------------------------- ack


async def _ack(load: _Load, count: int) -> _Ack:
    """Both take turns message by message, so that whatever disturbs the machine disturbs both."""
    load.one.reset()

    def act(number: int, due_ns: int) -> None:
        if number % 2 == 0:
            load.one.send_message("ack", stamped(due_ns, TEXT))
        else:
            load.bare.start(stamped(due_ns, TEXT))

    await paced(2 * ACK_PER_S, 2 * count, act)
    bare_ns = await load.bare.finished()
    await _answered(load.one, count)
    return _Ack(_shares(load.one.ack_ns), _shares(bare_ns))


def _ack_figure(mode: Durability, samples: Sequence[_Ack], share: str) -> Figure:
    return Figure(
        bench=NAME,
        case=f"{mode}: ack, {ACK_PER_S} msg/s",
        figure=f"ack {share}",
        unit="ms",
        value=median(sample.edge_ms[share] for sample in samples),
        repetitions=len(samples),
        reference=median(sample.bare_ms[share] for sample in samples),
        reference_name="bare commit",
        ratio=median(sample.edge_ms[share] / sample.bare_ms[share] for sample in samples),
    )


# ---------------------------------------------------------------- throughput


async def _throughput(load: _Load) -> _Throughput:
    edge_per_s, cpu_us = await _edge_throughput(load, EDGE_SECONDS)
    bare_per_s, bare_nats_us = await _bare_throughput(load, BARE_SECONDS)
    return _Throughput(edge_per_s, bare_per_s, cpu_us, bare_nats_us)


async def _edge_throughput(load: _Load, seconds: float) -> tuple[float, dict[str, float]]:
    """Acks a second once all sessions are busy, and CPU per acknowledged message."""
    for session, _ in load.many:
        session.reset()
    stop_at = time.monotonic() + RAMP_S + seconds
    sending = [asyncio.ensure_future(keep_busy(*one, stop_at)) for one in load.many]
    await asyncio.sleep(RAMP_S)
    meter = _meter(load.system)
    began, acks = time.monotonic(), _acks(load)
    await asyncio.sleep(stop_at - time.monotonic())
    done, taken_s = _acks(load) - acks, time.monotonic() - began
    cpu_us = {"edge": meter.used_us("edge") / done, "nats": _nats_us(load.system, meter) / done}
    await asyncio.gather(*sending)
    return done / taken_s, cpu_us


async def keep_busy(session: LoadClient, channels: Sequence[str], stop_at: float) -> None:
    """Never more than so many unanswered; returns when all are answered."""
    sent = 0
    while time.monotonic() < stop_at:
        while sent - session.acks - session.errors < IN_FLIGHT_OF_SESSION:
            session.send_message(channels[sent % len(channels)], TEXT)
            sent += 1
        await _settled(session, sent - IN_FLIGHT_OF_SESSION // 2)
    await _answered(session, sent)


async def _bare_throughput(load: _Load, seconds: float) -> tuple[float, float]:
    """Commits a second, as many unanswered and over as many channels, and the servers' CPU per commit."""
    stop_at = time.monotonic() + RAMP_S + seconds
    chains = SESSIONS * IN_FLIGHT_OF_SESSION

    async def chain(bare: BareCommit) -> None:
        while time.monotonic() < stop_at:
            await bare.commit(TEXT)

    working = [asyncio.ensure_future(chain(load.bare_many[n % len(load.bare_many)])) for n in range(chains)]
    await asyncio.sleep(RAMP_S)
    meter = _meter(load.system)
    began, commits = time.monotonic(), sum(len(bare.ack_ns) for bare in load.bare_many)
    await asyncio.sleep(stop_at - time.monotonic())
    done = sum(len(bare.ack_ns) for bare in load.bare_many) - commits
    taken_s, nats_us = time.monotonic() - began, _nats_us(load.system, meter)
    await asyncio.gather(*working)
    for bare in load.bare_many:
        await bare.finished()
    return done / taken_s, nats_us / done


def _throughput_figures(mode: Durability, samples: Sequence[_Throughput]) -> list[Figure]:
    case = f"{mode}: {SESSIONS} sessions, {SESSIONS * CHANNELS_OF_SESSION} channels"

    def figure(
        name: str,
        unit: str,
        pick: Callable[[_Throughput], float],
        bare: Callable[[_Throughput], float] | None = None,
    ) -> Figure:
        return Figure(
            bench=NAME,
            case=case,
            figure=name,
            unit=unit,
            value=median(pick(sample) for sample in samples),
            repetitions=len(samples),
            reference=median(bare(sample) for sample in samples) if bare else None,
            reference_name="bare commits" if bare else "",
            ratio=median(pick(sample) / bare(sample) for sample in samples) if bare else None,
        )

    return [
        figure("acknowledged", "msg/s", lambda sample: sample.edge_per_s, lambda sample: sample.bare_per_s),
        figure("CPU of edge", "us/message", lambda sample: sample.cpu_us["edge"]),
        figure(
            "CPU of nats",
            "us/message",
            lambda sample: sample.cpu_us["nats"],
            lambda sample: sample.bare_nats_us,
        ),
    ]


# ---------------------------------------------------------------- parts


def _disk(repetitions: int) -> Figure:
    with tempfile.TemporaryDirectory(prefix="parley-bench-") as scratch:
        taken_ms = [percentile(sorted(_fsyncs(Path(scratch) / "file")), 0.5) for _ in range(repetitions)]
    return Figure(
        NAME, "disk", f"write and fsync of {FSYNC_BYTES} B, p50", "ms", median(taken_ms), repetitions
    )


def _fsyncs(path: Path) -> list[float]:
    """Milliseconds of each."""
    taken_ms = []
    with path.open("ab", buffering=0) as file:
        for _ in range(FSYNCS):
            began_ns = time.monotonic_ns()
            file.write(b"x" * FSYNC_BYTES)
            os.fsync(file.fileno())
            taken_ms.append((time.monotonic_ns() - began_ns) / 1e6)
    return taken_ms


async def _sender(system: System, user: str, channels: Sequence[str]) -> LoadClient:
    """A session whose user is the only member of these channels."""
    session = await open_session(system.edges[0], system.token(user))
    for channel in channels:
        await session.ask({"type": "create_channel", "kind": "public", "channel": channel, "name": channel})
    return session


async def _answered(session: LoadClient, count: int) -> None:
    await _settled(session, count)
    assert not session.errors, f"the edge refused: {session.last_error}"


async def _settled(session: LoadClient, count: int) -> None:
    """Until so many commands have an answer, whichever."""
    await session.until(lambda: session.acks + session.errors >= count)


def _channels() -> list[list[str]]:
    return [[f"many-{n}-{channel}" for channel in range(CHANNELS_OF_SESSION)] for n in range(SESSIONS)]


def _acks(load: _Load) -> int:
    return sum(session.acks for session, _ in load.many)


def _shares(taken_ns: Sequence[int]) -> dict[str, float]:
    ordered = sorted(taken_ns)
    return {name: percentile(ordered, share) / 1e6 for name, share in (("p50", 0.5), ("p99", 0.99))}


def _nats(system: System) -> list[str]:
    return [process.name for process in system.run.processes if process.kind == "nats"]


def _meter(system: System) -> CpuMeter:
    return CpuMeter(edge=system.pid("edge-1"), **{name: system.pid(name) for name in _nats(system)})


def _nats_us(system: System, meter: CpuMeter) -> float:
    """Of all servers together."""
    return sum(meter.used_us(name) for name in _nats(system))
