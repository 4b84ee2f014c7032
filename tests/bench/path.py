"""`path`: what a message costs from the sender to its ack, and to everybody else.

`ack`: a client's send to its ack, beside a bare JetStream commit of the same event in the same log, in turns.
A `probe` is a frame that the edge answers on the spot: it is what a client's way to the edge and back costs,
and the share of an ack that the edge itself is to blame for is what is left of it after both.
`200 members`: one channel with 200 connected clients. `50 x 20 members`: the same clients, each in five of
fifty channels. Delivery is counted from the time at which a message was due (see `pace`).
`1,000 clients in 50 channels`: latency over the offered load, beside Centrifugo's (see `load_ladder`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench import load_ladder
from tests.bench.chunks import stamped
from tests.bench.crowd import crowd
from tests.bench.deliveries import TEXT, Stage, acknowledged, deliveries, meter_of
from tests.bench.layout import create_channel
from tests.bench.load_client import LoadClient, open_session
from tests.bench.measure import median, percentile
from tests.bench.pace import paced
from tests.bench.plot import Plot
from tests.bench.reference import BareCommit
from tests.bench.report import Figure
from tests.bench.system import System, running

NAME = "path"
ACK_PER_S, ACK_SECONDS = 200, 1.5
ACK_RATIO_MAX = 1.5
MEMBERS = 200
CHANNELS, CHANNELS_OF_USER = 50, 5
WIDE = "wide"


@dataclass(frozen=True, slots=True)
class _Ack:
    edge_ms: dict[str, float]
    bare_ms: dict[str, float]
    probe_ms: dict[str, float]
    cpu_us: dict[str, float]


async def measure(repetitions: int) -> list[Figure | Plot]:
    """What one message costs, and then how much a system of its own bears."""
    figures = await _one_load(repetitions)
    return [*figures, *await load_ladder.measure(repetitions)]


async def _one_load(repetitions: int) -> list[Figure]:
    """Acks first, on a system without other sessions; then both kinds of delivery."""
    async with running() as system:
        figures = await _acks(system, repetitions)
        owner = await open_session(system.edges[0], system.token("owner"))
        narrow = [f"narrow-{number:02d}" for number in range(CHANNELS)]
        await create_channel(owner, WIDE, [_user(number) for number in range(MEMBERS)])
        for number, channel in enumerate(narrow):
            await create_channel(owner, channel, _members_of(number))
        # A session of its own per sender would be 50 more members; the commands are the same from one.
        stages = (
            Stage(f"{MEMBERS} members, 200 msg/s", 200, MEMBERS, [(owner, WIDE)]),
            Stage(
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
                figures += await deliveries(NAME, system, receivers, stage, repetitions)
        owner.close()
    return figures


async def _acks(system: System, repetitions: int) -> list[Figure]:
    sender = await open_session(system.edges[0], system.token("sender"))
    await create_channel(sender, "ack", [])
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
    meter = meter_of(system)

    def act(number: int, due_ns: int) -> None:
        if number % 3 == 0:
            sender.send_message("ack", stamped(due_ns, TEXT))
        elif number % 3 == 1:
            bare.start(stamped(due_ns, TEXT))
        else:
            sender.probe()

    await paced(3 * ACK_PER_S, 3 * count, act)
    bare_ns = sorted(await bare.finished())
    await acknowledged(sender, count)
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


# ---------------------------------------------------------------- who is where


def _user(number: int) -> str:
    return f"r{number:04d}"


def _channels_of(user: int) -> list[int]:
    return [(user + 10 * turn) % CHANNELS for turn in range(CHANNELS_OF_USER)]


def _members_of(channel: int) -> list[str]:
    return [_user(user) for user in range(MEMBERS) if channel in _channels_of(user)]
