"""`durability`: what each mode costs: `process`, `power`, and `quorum` on three servers.

Each mode is a system of its own. `ack` is one client at a low rate, in turns with bare commits of the same
event in the same log. The highest throughput is what many sessions get, each with a bounded number of
unanswered messages and channels of its own; right after it come bare commits with as many unanswered.
`disk` is what a write and an fsync take where the logs are kept: where fsync is free, as on tmpfs, `power`
and `process` look alike.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.nats.config import Durability
from shared.bus import Bus
from tests.bench import grouped
from tests.bench.chunks import stamped
from tests.bench.commits import Rate, flat_out, nats_meter, nats_us
from tests.bench.load_client import LoadClient, open_session
from tests.bench.measure import median, percentile
from tests.bench.pace import paced
from tests.bench.reference import BareCommit, fsyncs_ms
from tests.bench.report import Figure
from tests.bench.system import System, running

NAME = "durability"
TEXT = "x" * 180
MODES: Mapping[Durability, int] = {"process": 1, "power": 1, "quorum": 3}
"""Each with its number of NATS servers."""

ACK_PER_S, ACK_SECONDS = 200, 0.8
SESSIONS, CHANNELS_OF_SESSION = 8, 4
IN_FLIGHT_OF_SESSION = 32
RAMP_S, EDGE_SECONDS, BARE_SECONDS = 0.2, 1.0, 0.6
FSYNCS, FSYNC_BYTES = 200, 400


@dataclass(frozen=True, slots=True)
class _Ack:
    edge_ms: Mapping[str, float]
    bare_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Throughput:
    edge_per_s: float
    cpu_us: Mapping[str, float]
    bare: Rate


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
                bare_many=_bare(system, bus),
            )
            figures += await _mode(mode, load, repetitions)
            for session, _ in ((load.one, ()), *load.many):
                session.close()
    return figures + await grouped.measure(NAME, repetitions)


async def _mode(mode: Durability, load: _Load, repetitions: int) -> list[Figure]:
    await _ack(load, ACK_PER_S // 3)  # warm-up
    await _edge_throughput(load, seconds=0.2)
    acks, throughputs = [], []
    for _ in range(repetitions):
        acks.append(await _ack(load, int(ACK_PER_S * ACK_SECONDS)))
        throughputs.append(await _throughput(load))
    return [*_ack_figures(mode, acks), *_throughput_figures(mode, throughputs)]


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


def _ack_figures(mode: Durability, samples: Sequence[_Ack]) -> list[Figure]:
    case = f"{mode}: ack, {ACK_PER_S} msg/s"
    return [
        _figure(
            case,
            f"ack {share}",
            "ms",
            [sample.edge_ms[share] for sample in samples],
            [sample.bare_ms[share] for sample in samples],
        )
        for share in ("p50", "p99")
    ]


# ---------------------------------------------------------------- throughput


async def _throughput(load: _Load) -> _Throughput:
    edge_per_s, cpu_us = await _edge_throughput(load, EDGE_SECONDS)
    bare = await _commits(load, load.bare_many, SESSIONS * IN_FLIGHT_OF_SESSION)
    return _Throughput(edge_per_s, cpu_us, bare)


async def _commits(load: _Load, channels: Sequence[BareCommit], senders: int) -> Rate:
    return await flat_out(load.system, channels, senders, TEXT, ramp_s=RAMP_S, seconds=BARE_SECONDS)


async def _edge_throughput(load: _Load, seconds: float) -> tuple[float, dict[str, float]]:
    """Acks a second once all sessions are busy, and CPU per acknowledged message."""
    for session, _ in load.many:
        session.reset()
    stop_at = time.monotonic() + RAMP_S + seconds
    sending = [asyncio.ensure_future(keep_busy(*one, stop_at)) for one in load.many]
    await asyncio.sleep(RAMP_S)
    meter = nats_meter(load.system, edge=load.system.pid("edge-1"))
    began, acks = time.monotonic(), _acks(load)
    await asyncio.sleep(stop_at - time.monotonic())
    done, taken_s = _acks(load) - acks, time.monotonic() - began
    cpu_us = {"edge": meter.used_us("edge") / done, "nats": nats_us(load.system, meter) / done}
    await asyncio.gather(*sending)
    return done / taken_s, cpu_us


async def keep_busy(
    session: LoadClient, channels: Sequence[str], stop_at: float, in_flight: int = IN_FLIGHT_OF_SESSION
) -> int:
    """Never more than so many unanswered, over the channels in turn; how many, once all are acknowledged."""
    sent = 0
    while time.monotonic() < stop_at:
        while sent - session.acks - session.errors < in_flight:
            session.send_message(channels[sent % len(channels)], TEXT)
            sent += 1
        await _settled(session, sent - in_flight // 2)
    await _answered(session, sent)
    return sent


def _throughput_figures(mode: Durability, samples: Sequence[_Throughput]) -> list[Figure]:
    case = f"{mode}: {SESSIONS} sessions, {SESSIONS * CHANNELS_OF_SESSION} channels"
    bare = [sample.bare for sample in samples]
    bare_per_s, bare_us = [rate.per_s for rate in bare], [rate.nats_us for rate in bare]
    return [
        _figure(case, "acknowledged", "msg/s", [sample.edge_per_s for sample in samples], bare_per_s),
        _figure(case, "CPU of edge", "us/message", [sample.cpu_us["edge"] for sample in samples]),
        _figure(case, "CPU of nats", "us/message", [sample.cpu_us["nats"] for sample in samples], bare_us),
    ]


def _figure(
    case: str, name: str, unit: str, values: Sequence[float], bare: Sequence[float] | None = None
) -> Figure:
    """The median, beside bare commits where they are given."""
    return Figure(
        bench=NAME,
        case=case,
        figure=name,
        unit=unit,
        value=median(values),
        repetitions=len(values),
        reference=median(bare) if bare else None,
        reference_name="bare commits" if bare else "",
        ratio=median(one / other for one, other in zip(values, bare, strict=True)) if bare else None,
    )


# ---------------------------------------------------------------- parts


def _disk(repetitions: int) -> Figure:
    with tempfile.TemporaryDirectory(prefix="parley-bench-") as scratch:
        taken_ms = [
            percentile(sorted(fsyncs_ms(Path(scratch) / "file", FSYNCS, FSYNC_BYTES)), 0.5)
            for _ in range(repetitions)
        ]
    return _figure("disk", f"write and fsync of {FSYNC_BYTES} B, p50", "ms", taken_ms)


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


def _bare(system: System, bus: Bus) -> list[BareCommit]:
    return [
        BareCommit(bus, system.run.partitions, f"bare-{name}")
        for channels in _channels()
        for name in channels
    ]


def _acks(load: _Load) -> int:
    return sum(session.acks for session, _ in load.many)


def _shares(taken_ns: Sequence[int]) -> dict[str, float]:
    ordered = sorted(taken_ns)
    return {name: percentile(ordered, share) / 1e6 for name, share in (("p50", 0.5), ("p99", 0.99))}
