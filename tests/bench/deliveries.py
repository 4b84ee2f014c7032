"""Deliveries of `path`: a crowd that hears senders, and what that costs a delivery."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared import events as e
from shared.clock import now_us
from shared.ids import UserId, new_command_id
from tests.bench.chunks import stamped
from tests.bench.crowd import Crowd, Received
from tests.bench.load_client import LoadClient
from tests.bench.measure import CpuMeter, median, percentile
from tests.bench.pace import paced
from tests.bench.reference import SendLoop
from tests.bench.report import Figure
from tests.bench.system import System

TEXT = "x" * 180
"""The median length of messages in public workspaces."""

DELIVERY_SECONDS = 3.0
DELIVERY_P99_MS_MAX = 25.0
SEND_ROUNDS = 50


@dataclass(frozen=True, slots=True)
class _Delivery:
    received: Received
    expected: int
    edge_us: float
    nats_us: float
    load_us: float
    send_us: float
    sender_late_ms: float


@dataclass(frozen=True, slots=True)
class Stage:
    """One way to spread messages over channels: `senders[n % len]` sends message n to its own channel."""

    case: str
    per_s: float
    members: int
    senders: Sequence[tuple[LoadClient, str]]


async def deliveries(
    name: str, system: System, receivers: Crowd, stage: Stage, repetitions: int
) -> list[Figure]:
    """The figures of one stage for the benchmark `name`."""
    loop = SendLoop(stage.members)
    try:
        await _delivery(system, receivers, stage, loop, seconds=0.5)  # warm-up
        samples = [
            await _delivery(system, receivers, stage, loop, seconds=DELIVERY_SECONDS)
            for _ in range(repetitions)
        ]
    finally:
        loop.close()

    def figure(what: str, unit: str, pick: Callable[[_Delivery], float], **more: object) -> Figure:
        value = median(pick(sample) for sample in samples)
        return Figure(name, stage.case, what, unit, value, repetitions, **more)  # type: ignore[arg-type]

    def late(share: str) -> Callable[[_Delivery], float]:
        return lambda sample: sample.received.late_ms[share]

    missing = max(sample.expected - sample.received.events + sample.received.gaps for sample in samples)
    return [
        figure("delivery p50", "ms", late("p50")),
        figure("delivery p95", "ms", late("p95")),
        figure("delivery p99", "ms", late("p99"), target=DELIVERY_P99_MS_MAX),
        figure("delivery p99.9", "ms", late("p99.9")),
        Figure(name, stage.case, "missing or out of order", "events", missing, repetitions, target=0),
        figure(
            "CPU of edge",
            "us/delivery",
            lambda sample: sample.edge_us,
            reference=median(sample.send_us for sample in samples),
            reference_name="send(2) loop",
            ratio=median(sample.edge_us / sample.send_us for sample in samples),
        ),
        figure("CPU of edge", "us/message", lambda sample: sample.edge_us * stage.members),
        figure("CPU of nats", "us/message", lambda sample: sample.nats_us * stage.members),
        figure("CPU of the load", "us/delivery", lambda sample: sample.load_us),
        figure("sender late p99", "ms", lambda sample: sample.sender_late_ms),
    ]


async def _delivery(
    system: System, receivers: Crowd, stage: Stage, loop: SendLoop, *, seconds: float
) -> _Delivery:
    count = int(stage.per_s * seconds)
    for sender, _ in stage.senders:
        sender.reset()
    await receivers.reset()
    meter = meter_of(system, load=receivers.pid)

    def act(number: int, due_ns: int) -> None:
        sender, channel = stage.senders[number % len(stage.senders)]
        sender.send_message(channel, stamped(due_ns, TEXT))

    sender_late_ns = await paced(stage.per_s, count, act)
    received = await receivers.report(count * stage.members)
    await acknowledged(stage.senders[0][0], count)
    deliveries = max(1, received.events)
    return _Delivery(
        received=received,
        expected=count * stage.members,
        edge_us=meter.used_us("edge") / deliveries,
        nats_us=meter.used_us("nats") / deliveries,
        load_us=meter.used_us("load") / deliveries,
        send_us=loop.us_per_send(_event_frame(), SEND_ROUNDS),
        sender_late_ms=percentile(sender_late_ns, 0.99) / 1e6,
    )


def _event_frame() -> bytes:
    """As many bytes as an event has on the wire."""
    event = e.MessagePosted(id=new_command_id(now_us() // 1000), author=UserId("owner"), text=TEXT)
    return e.encode(event) + b" " * 60


async def acknowledged(sender: LoadClient, count: int) -> None:
    """Returns when so many commands are acked; none may be refused."""
    await sender.until(lambda: sender.acks + sender.errors >= count)
    assert not sender.errors, f"the edge refused: {sender.last_error}"


def meter_of(system: System, **more: int) -> CpuMeter:
    """The CPU of the services, and of what else is named."""
    return CpuMeter(
        edge=system.pid("edge-1"),
        nats=system.pid("nats-1"),
        sequencer=system.pid("sequencer"),
        archiver=system.pid("archiver"),
        **more,
    )
