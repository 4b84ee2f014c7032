"""As many commits a second as many senders get, with no edge in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.measure import CpuMeter, percentile
from tests.bench.reference import BareCommit
from tests.bench.system import System


@dataclass(frozen=True, slots=True)
class Rate:
    """Commits a second, the median of their times, and the CPU of all NATS servers per commit."""

    per_s: float
    p50_ms: float
    nats_us: float


async def flat_out(
    system: System,
    channels: Sequence[BareCommit],
    senders: int,
    text: str,
    *,
    ramp_s: float,
    seconds: float,
) -> Rate:
    """Each sender waits for its last commit; counted is what is answered after the ramp."""
    stop_at = time.monotonic() + ramp_s + seconds

    async def send(channel: BareCommit) -> None:
        while time.monotonic() < stop_at:
            await channel.commit(text)

    sending = [asyncio.ensure_future(send(channels[n % len(channels)])) for n in range(senders)]
    await asyncio.sleep(ramp_s)
    for channel in channels:
        channel.ack_ns = []
    meter, began = nats_meter(system), time.monotonic()
    await asyncio.sleep(stop_at - time.monotonic())
    taken_ns = sorted(ns for channel in channels for ns in channel.ack_ns)
    per_s, used_us = len(taken_ns) / (time.monotonic() - began), nats_us(system, meter)
    await asyncio.gather(*sending)
    for channel in channels:
        channel.ack_ns = []
    return Rate(per_s, percentile(taken_ns, 0.5) / 1e6, used_us / len(taken_ns))


def nats_meter(system: System, **more: int) -> CpuMeter:
    """Of all NATS servers and some other processes."""
    return CpuMeter(**{name: system.pid(name) for name in system.nats}, **more)


def nats_us(system: System, meter: CpuMeter) -> float:
    """What all NATS servers used together."""
    return sum(meter.used_us(name) for name in system.nats)
