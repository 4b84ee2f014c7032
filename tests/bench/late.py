"""`late`: ids that are too old for JetStream's window, through one edge: first new ones, then the same again.

This is what an import does. A new id is looked up in log and archive and then published on the condition that
the channel has not moved; a repeated one is answered from the lookup. Reference for new ids: bare commits in
as many channels, one behind the other in each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.ids import derived_command_id
from tests.bench.load_client import LoadClient, open_session
from tests.bench.measure import CpuMeter, median
from tests.bench.reference import BareCommit
from tests.bench.report import Figure
from tests.bench.system import System, running

NAME = "late"
IDS = 2000
IDS_PER_S_MIN = 1000.0
SESSIONS = 4
CHANNELS_WIDE = 16
IN_FLIGHT_MAX = 200
PROCESSES = ("edge", "nats", "archiver")
AT_MS = 1_100_000_000_000
AT = "2004-11-09T11:33:20Z"
TEXT = "x" * 180


@dataclass(frozen=True, slots=True)
class _Sample:
    new_per_s: float
    again_per_s: float
    bare_per_s: float
    new_cpu_us: dict[str, float]
    again_cpu_us: dict[str, float]


async def measure(repetitions: int) -> list[Figure]:
    """Ids a second, in many channels and in one."""
    async with running() as system:
        token = system.token("importer", scopes=["import"])
        sessions = [await open_session(system.edges[0], token) for _ in range(SESSIONS)]
        figures: list[Figure] = []
        for channels in (CHANNELS_WIDE, 1):
            names = [f"late-{channels}-{number}" for number in range(channels)]
            for name in names:
                await sessions[0].ask(
                    {"type": "create_channel", "kind": "public", "channel": name, "name": name}
                )
            samples = [await _sample(system, sessions, names, turn) for turn in range(repetitions)]
            figures += _figures(samples, channels)
        for session in sessions:
            session.close()
    return figures


def _figures(samples: Sequence[_Sample], channels: int) -> list[Figure]:
    case = f"{IDS:,} ids, {channels} channel{'s' if channels > 1 else ''}"
    target = IDS_PER_S_MIN if channels > 1 else None

    def figure(name: str, unit: str, pick: Callable[[_Sample], float], **more: object) -> Figure:
        value = median(pick(sample) for sample in samples)
        return Figure(NAME, case, name, unit, value, len(samples), **more)  # type: ignore[arg-type]

    return [
        figure(
            "new ids",
            "ids/s",
            lambda sample: sample.new_per_s,
            reference=median(sample.bare_per_s for sample in samples),
            reference_name="bare commits",
            ratio=median(sample.new_per_s / sample.bare_per_s for sample in samples),
            target=target,
            at_least=True,
        ),
        figure("repeated ids", "ids/s", lambda sample: sample.again_per_s, target=target, at_least=True),
        *(figure(f"CPU of {name}, new", "us/id", _new_cpu(name)) for name in PROCESSES),
        *(figure(f"CPU of {name}, repeated", "us/id", _again_cpu(name)) for name in PROCESSES),
    ]


def _new_cpu(name: str) -> Callable[[_Sample], float]:
    return lambda sample: sample.new_cpu_us[name]


def _again_cpu(name: str) -> Callable[[_Sample], float]:
    return lambda sample: sample.again_cpu_us[name]


async def _sample(
    system: System, sessions: Sequence[LoadClient], channels: Sequence[str], turn: int
) -> _Sample:
    frames = [_frame(channels[number % len(channels)], turn, number) for number in range(IDS)]
    new_per_s, new_us = await _timed(system, sessions, frames, duplicate=False)
    again_per_s, again_us = await _timed(system, sessions, frames, duplicate=True)
    return _Sample(new_per_s, again_per_s, await _bare(system, len(channels)), new_us, again_us)


async def _timed(
    system: System, sessions: Sequence[LoadClient], frames: Sequence[dict[str, object]], *, duplicate: bool
) -> tuple[float, dict[str, float]]:
    """Ids a second, and CPU per id by process."""
    meter = CpuMeter(edge=system.pid("edge-1"), nats=system.pid("nats-1"), archiver=system.pid("archiver"))
    began = time.monotonic()
    shares = [frames[number :: len(sessions)] for number in range(len(sessions))]
    answers = await asyncio.gather(*(_send(s, share) for s, share in zip(sessions, shares, strict=True)))
    taken_s = time.monotonic() - began
    for answer in (answer for share in answers for answer in share):
        assert answer["type"] == "ack", f"the edge refused: {answer}"
        assert answer["duplicate"] is duplicate, f"expected duplicate={duplicate}: {answer}"
    return len(frames) / taken_s, {n: meter.used_us(n) / len(frames) for n in PROCESSES}


async def _send(session: LoadClient, frames: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """All of them, with a bounded number unanswered."""
    gate = asyncio.Semaphore(IN_FLIGHT_MAX)
    answers = []
    for frame in frames:
        await gate.acquire()
        answer = session.submit(dict(frame))
        answer.add_done_callback(lambda _: gate.release())
        answers.append(answer)
    async with asyncio.timeout(60):
        return list(await asyncio.gather(*answers))


async def _bare(system: System, channels: int) -> float:
    """Commits a second, one behind the other in each channel."""

    async def chain(bare: BareCommit) -> None:
        for _ in range(IDS // channels):
            await bare.commit(TEXT)

    async with system.bus() as bus:
        chains = [BareCommit(bus, system.run.partitions, f"bare-{number}") for number in range(channels)]
        began = time.monotonic()
        await asyncio.gather(*(chain(bare) for bare in chains))
        return IDS / (time.monotonic() - began)


def _frame(channel: str, turn: int, number: int) -> dict[str, object]:
    return {
        "type": "send",
        "id": derived_command_id(AT_MS + number, channel, str(turn), str(number)),
        "channel": channel,
        "text": TEXT,
        "imported": {"at": AT, "author": f"u{number % 50:04d}"},
    }
