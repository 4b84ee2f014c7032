"""`path`: what a message costs from the sender to its ack, and to everybody else.

`ack`: a client's send to its ack, beside a bare JetStream commit of the same event in the same log, in turns.
A `probe` is a frame that the edge answers on the spot: it is what a client's way to the edge and back costs,
and the share of an ack that the edge itself is to blame for is what is left of it after both.
`200 members`: one channel with 200 connected clients. `50 x 20 members`: the same clients, each in five of
fifty channels. Delivery is counted from the time at which a message was due (see `pace`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared import events as e
from shared.clock import now_us
from shared.ids import UserId, new_command_id
from tests.bench.chunks import stamped
from tests.bench.crowd import Crowd, Received, crowd
from tests.bench.load_client import LoadClient, open_session
from tests.bench.measure import CpuMeter, median, percentile
from tests.bench.pace import paced
from tests.bench.reference import BareCommit, SendLoop
from tests.bench.report import Figure
from tests.bench.system import System, running

NAME = "path"
TEXT = "x" * 180
"""The median length of messages in public workspaces."""

ACK_PER_S, ACK_SECONDS = 200, 1.5
ACK_RATIO_MAX = 1.5
DELIVERY_SECONDS = 3.0
DELIVERY_P99_MS_MAX = 25.0
MEMBERS = 200
CHANNELS, CHANNELS_OF_USER = 50, 5
WIDE = "wide"
SEND_ROUNDS = 50


@dataclass(frozen=True, slots=True)
class _Ack:
    edge_ms: dict[str, float]
    bare_ms: dict[str, float]
    probe_ms: dict[str, float]
    cpu_us: dict[str, float]


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
class _Stage:
    """One way to spread messages over channels: `senders[n % len]` sends message n to its own channel."""

    case: str
    per_s: float
    members: int
    senders: Sequence[tuple[LoadClient, str]]


async def measure(repetitions: int) -> list[Figure]:
    """Acks first, on a system without other sessions; then both kinds of delivery."""
    async with running() as system:
        figures = await _acks(system, repetitions)
        owner = await open_session(system.edges[0], system.token("owner"))
        narrow = [f"narrow-{number:02d}" for number in range(CHANNELS)]
        await _create(owner, WIDE, [_user(number) for number in range(MEMBERS)])
        for number, channel in enumerate(narrow):
            await _create(owner, channel, _members_of(number))
        # A session of its own per sender would be 50 more members; the commands are the same from one.
        stages = (
            _Stage(f"{MEMBERS} members, 200 msg/s", 200, MEMBERS, [(owner, WIDE)]),
            _Stage(
                f"{CHANNELS} x 20 members, 1,000 msg/s",
                1000,
                MEMBERS * CHANNELS_OF_USER // CHANNELS,
                [(owner, channel) for channel in narrow],
            ),
        )
        async with crowd() as receivers:
            await receivers.open(
                system.edges[0],
                [
                    (system.token(_user(number)), [WIDE, *(narrow[c] for c in _channels_of(number))])
                    for number in range(MEMBERS)
                ],
            )
            for stage in stages:
                figures += await _deliveries(system, receivers, stage, repetitions)
        owner.close()
    return figures


# ---------------------------------------------------------------- acks


async def _acks(system: System, repetitions: int) -> list[Figure]:
    sender = await open_session(system.edges[0], system.token("sender"))
    await _create(sender, "ack", [])
    async with system.bus() as bus:
        bare = BareCommit(bus, system.run.partitions)
        await _ack_round(system, sender, bare, ACK_PER_S // 2)  # warm-up
        samples = [
            await _ack_round(system, sender, bare, int(ACK_PER_S * ACK_SECONDS)) for _ in range(repetitions)
        ]
    sender.close()
    case = f"ack, {ACK_PER_S} msg/s"
    figures = [
        Figure(
            bench=NAME,
            case=case,
            figure=f"ack {share}",
            unit="ms",
            value=median(sample.edge_ms[share] for sample in samples),
            repetitions=repetitions,
            reference=median(sample.bare_ms[share] for sample in samples),
            reference_name="bare commit",
            ratio=median(sample.edge_ms[share] / sample.bare_ms[share] for sample in samples),
            target=ACK_RATIO_MAX if share == "p50" else None,
            judged="ratio",
        )
        for share in ("p50", "p99")
    ]
    figures += [
        Figure(NAME, case, "probe p50", "ms", median(s.probe_ms["p50"] for s in samples), repetitions),
        Figure(
            bench=NAME,
            case=case,
            figure="ack p50",
            unit="ms",
            value=median(sample.edge_ms["p50"] for sample in samples),
            repetitions=repetitions,
            reference=median(sample.bare_ms["p50"] + sample.probe_ms["p50"] for sample in samples),
            reference_name="bare commit + probe",
            ratio=median(s.edge_ms["p50"] / (s.bare_ms["p50"] + s.probe_ms["p50"]) for s in samples),
        ),
    ]
    return figures + [
        Figure(
            NAME, case, f"CPU of {name}", "us/message", median(s.cpu_us[name] for s in samples), repetitions
        )
        for name in samples[0].cpu_us
    ]


async def _ack_round(system: System, sender: LoadClient, bare: BareCommit, count: int) -> _Ack:
    """All three take turns message by message, so that whatever disturbs the machine disturbs all."""
    sender.reset()
    meter = _meter(system)

    def act(number: int, due_ns: int) -> None:
        if number % 3 == 0:
            sender.send_message("ack", stamped(due_ns, TEXT))
        elif number % 3 == 1:
            bare.start(stamped(due_ns, TEXT))
        else:
            sender.probe()

    await paced(3 * ACK_PER_S, 3 * count, act)
    bare_ns = sorted(await bare.finished())
    await _acknowledged(sender, count)
    edge_us = meter.used_us("edge") / count
    others = {name: meter.used_us(name) / count / 2 for name in ("nats", "sequencer", "archiver")}
    return _Ack(
        _shares(sorted(sender.ack_ns)),
        _shares(bare_ns),
        _shares(sorted(sender.probe_ns)),
        {"edge": edge_us, **others},
    )


def _shares(ordered_ns: Sequence[int]) -> dict[str, float]:
    return {name: percentile(ordered_ns, share) / 1e6 for name, share in (("p50", 0.5), ("p99", 0.99))}


async def _acknowledged(sender: LoadClient, count: int) -> None:
    await sender.until(lambda: sender.acks + sender.errors >= count)
    assert not sender.errors, f"the edge refused: {sender.last_error}"


# ---------------------------------------------------------------- delivery


async def _deliveries(system: System, receivers: Crowd, stage: _Stage, repetitions: int) -> list[Figure]:
    loop = SendLoop(stage.members)
    try:
        await _delivery(system, receivers, stage, loop, seconds=0.5)  # warm-up
        samples = [
            await _delivery(system, receivers, stage, loop, seconds=DELIVERY_SECONDS)
            for _ in range(repetitions)
        ]
    finally:
        loop.close()

    def figure(name: str, unit: str, pick: Callable[[_Delivery], float], **more: object) -> Figure:
        value = median(pick(sample) for sample in samples)
        return Figure(NAME, stage.case, name, unit, value, repetitions, **more)  # type: ignore[arg-type]

    def late(share: str) -> Callable[[_Delivery], float]:
        return lambda sample: sample.received.late_ms[share]

    missing = max(sample.expected - sample.received.events + sample.received.gaps for sample in samples)
    return [
        figure("delivery p50", "ms", late("p50")),
        figure("delivery p95", "ms", late("p95")),
        figure("delivery p99", "ms", late("p99"), target=DELIVERY_P99_MS_MAX),
        figure("delivery p99.9", "ms", late("p99.9")),
        Figure(NAME, stage.case, "missing or out of order", "events", missing, repetitions, target=0),
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
    system: System, receivers: Crowd, stage: _Stage, loop: SendLoop, *, seconds: float
) -> _Delivery:
    count = int(stage.per_s * seconds)
    for sender, _ in stage.senders:
        sender.reset()
    await receivers.reset()
    meter = _meter(system, load=receivers.pid)

    def act(number: int, due_ns: int) -> None:
        sender, channel = stage.senders[number % len(stage.senders)]
        sender.send_message(channel, stamped(due_ns, TEXT))

    sender_late_ns = await paced(stage.per_s, count, act)
    received = await receivers.report(count * stage.members)
    await _acknowledged(stage.senders[0][0], count)
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


# ---------------------------------------------------------------- who is where


async def _create(owner: LoadClient, channel: str, members: Sequence[str]) -> None:
    """A public channel with these members."""
    await owner.ask(
        {
            "type": "create_channel",
            "kind": "public",
            "channel": channel,
            "name": channel,
            "members": list(members[:100]),
        }
    )
    for user in members[100:]:
        await owner.ask({"type": "invite", "channel": channel, "user": user})


def _user(number: int) -> str:
    return f"r{number:04d}"


def _channels_of(user: int) -> list[int]:
    return [(user + 10 * turn) % CHANNELS for turn in range(CHANNELS_OF_USER)]


def _members_of(channel: int) -> list[str]:
    return [_user(user) for user in range(MEMBERS) if channel in _channels_of(user)]


def _meter(system: System, **more: int) -> CpuMeter:
    return CpuMeter(
        edge=system.pid("edge-1"),
        nats=system.pid("nats-1"),
        sequencer=system.pid("sequencer"),
        archiver=system.pid("archiver"),
        **more,
    )
