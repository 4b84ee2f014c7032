"""`ingest`: the most messages a second that edges acknowledge, beside the most that the NATS servers take.

Closed loop: every sender has as many unanswered messages as it may, in channels of its own; each edge's
senders are a process. In turn with them, in the same system, a bare socket publishes the same events with as
many unanswered. A rate is what was sent, over the time from the first message to the last answer. Between
turns the services may finish what they have to do. In the end the log is held against all acks: every channel
has to have exactly as many events.

On few cores everything competes with everything: what the edge could do alone is its CPU per message.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from infra.nats.config import Durability
from shared.bus import Bus
from shared.ids import Partition
from shared.subjects import log_stream, parse_channel_subject
from tests.bench.commits import nats_meter, nats_us
from tests.bench.measure import CpuMeter, median
from tests.bench.raw_publisher import RawPublisher, raw_publisher
from tests.bench.report import Figure
from tests.bench.senders import Sender, Senders, Sent, senders
from tests.bench.system import System, running

NAME = "ingest"
MODES: Mapping[Durability, int] = {"process": 1, "quorum": 3}
"""Each with its number of NATS servers, and of copies."""

EDGES = 2
SESSIONS, CHANNELS_OF_SESSION, IN_FLIGHT_OF_SESSION = 16, 4, 64
"""Of each edge."""

IN_FLIGHT = SESSIONS * IN_FLIGHT_OF_SESSION
RAW_CHANNELS = [f"raw-{number}" for number in range(SESSIONS * CHANNELS_OF_SESSION)]
SECONDS, WARM_UP_S = 2.0, 0.5
ONE_EDGE_PER_S_MIN = 12_000.0
QUIET_SHARE, QUIET_WATCH_S, QUIET_LOOKS_MAX = 0.1, 0.2, 100


@dataclass(frozen=True, slots=True)
class Rate:
    """Messages a second, and the CPU of each by what it was used for: edge, nats, client."""

    per_s: float
    cpu_us: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Sample:
    """One edge, two edges, none."""

    one: Rate
    two: Rate
    raw: Rate


@dataclass(frozen=True, slots=True)
class _Load:
    system: System
    of_edges: Sequence[Senders]
    raw: RawPublisher
    acked: Counter[str]
    """By channel, of all turns so far."""


async def measure(repetitions: int) -> list[Figure]:
    """One system after the other."""
    figures: list[Figure] = []
    for mode, servers in MODES.items():
        async with contextlib.AsyncExitStack() as stack:
            system = await stack.enter_async_context(running(edges=EDGES, nats=servers, durability=mode))
            load = _Load(
                system=system,
                of_edges=[await stack.enter_async_context(senders()) for _ in range(EDGES)],
                raw=await stack.enter_async_context(raw_publisher(system)),
                acked=Counter(),
            )
            for number, url in enumerate(system.edges):
                await load.of_edges[number].open(url, _members(system, number))
                load.acked.update(name for _, channels in _members(system, number) for name in channels)
            await _sample(load, WARM_UP_S)
            samples = [await _sample(load, SECONDS) for _ in range(repetitions)]
            bus = await stack.enter_async_context(system.bus())
            wrong = differing(await _logged(bus, system.run.partitions), load.acked)
            figures += figures_of(mode, samples, wrong)
    return figures


async def _sample(load: _Load, seconds: float) -> Sample:
    async def turn(edges: int) -> Rate:
        """So many edges; none: the bare socket."""
        await _quiet(load.system)
        meter = nats_meter(load.system, **{f"of_{n}": load.system.pid(f"edge-{n + 1}") for n in range(edges)})
        if edges:
            sent = await asyncio.gather(
                *(load.of_edges[number].run(seconds, IN_FLIGHT_OF_SESSION) for number in range(edges))
            )
        else:
            sent = [await load.raw.run(RAW_CHANNELS, load.system.run.partitions, seconds, IN_FLIGHT)]
        edge_us = sum(meter.used_us(f"of_{number}") for number in range(edges))
        for one in sent:
            load.acked.update(one.acked)
        return rate_of(sent, edge_us, nats_us(load.system, meter))

    return Sample(one=await turn(1), two=await turn(EDGES), raw=await turn(0))


def rate_of(sent: Sequence[Sent], edge_us: float, nats_us: float) -> Rate:
    """All senders together, from the first message of any to the last answer of any."""
    count = sum(sum(one.acked.values()) for one in sent)
    taken_s = max(one.ended_s for one in sent) - min(one.began_s for one in sent)
    client_us = sum(one.cpu_us for one in sent)
    return Rate(
        count / taken_s, {"edge": edge_us / count, "nats": nats_us / count, "client": client_us / count}
    )


async def _quiet(system: System) -> None:
    """Returns when sequencer and archiver have caught up, as far as their CPU tells."""
    meter = CpuMeter(sequencer=system.pid("sequencer"), archiver=system.pid("archiver"))
    for _ in range(QUIET_LOOKS_MAX):
        await asyncio.sleep(QUIET_WATCH_S)
        if meter.share("sequencer") + meter.share("archiver") < QUIET_SHARE:
            return
        meter.restart()


async def _logged(bus: Bus, partitions: int) -> Counter[str]:
    """How many events each channel has in the logs."""
    found: Counter[str] = Counter()
    for number in range(partitions):
        answer = await bus.api(f"STREAM.INFO.{log_stream(Partition(number))}", {"subjects_filter": ">"})
        state = answer["state"]
        assert isinstance(state, dict)
        assert state["messages"] == sum(state.get("subjects", {}).values()), "not all subjects were listed"
        for subject, count in state.get("subjects", {}).items():
            found[parse_channel_subject(subject)[1].channel] += count
    return found


def differing(logged: Mapping[str, int], acked: Mapping[str, int]) -> int:
    """Events that the log has and nobody was told of, or that it should have and has not."""
    return sum(abs(logged.get(name, 0) - acked.get(name, 0)) for name in {*logged, *acked})


def figures_of(mode: Durability, samples: Sequence[Sample], wrong: int) -> list[Figure]:
    """One edge, two edges, the servers alone, and whether all were right."""
    copies = f"{mode}, R{MODES[mode]}"
    return [
        *_beside_raw(
            f"{copies}: one edge",
            samples,
            lambda sample: sample.one,
            ONE_EDGE_PER_S_MIN if mode == "process" else None,
        ),
        *_beside_raw(f"{copies}: two edges", samples, lambda sample: sample.two, None),
        Figure(
            NAME,
            f"{copies}: no edge",
            "CPU of client",
            "us/message",
            median(sample.raw.cpu_us["client"] for sample in samples),
            len(samples),
        ),
        Figure(NAME, copies, "events in the log that differ from the acks", "", wrong, 1, target=0),
    ]


def _beside_raw(
    case: str, samples: Sequence[Sample], pick: Callable[[Sample], Rate], per_s_min: float | None
) -> list[Figure]:
    def figure(
        name: str, unit: str, value: Callable[[Rate], float], *, beside: bool, **more: object
    ) -> Figure:
        if beside:
            more["reference"] = median(value(sample.raw) for sample in samples)
            more["reference_name"] = "NATS alone, raw publisher"
            more["ratio"] = median(value(pick(sample)) / value(sample.raw) for sample in samples)
        found = median(value(pick(sample)) for sample in samples)
        return Figure(NAME, case, name, unit, found, len(samples), **more)  # type: ignore[arg-type]

    return [
        figure(
            "acknowledged", "msg/s", lambda rate: rate.per_s, beside=True, target=per_s_min, at_least=True
        ),
        figure("CPU of edge", "us/message", lambda rate: rate.cpu_us["edge"], beside=False),
        figure("CPU of nats", "us/message", lambda rate: rate.cpu_us["nats"], beside=True),
        figure("CPU of client", "us/message", lambda rate: rate.cpu_us["client"], beside=False),
    ]


def _members(system: System, edge: int) -> list[Sender]:
    return [
        (
            system.token(f"i{edge}-{session}"),
            [f"in-{edge}-{session}-{number}" for number in range(CHANNELS_OF_SESSION)],
        )
        for session in range(SESSIONS)
    ]
