"""One run: the system, the load, the faults, and the proof.

Judged by witnesses that share little:
* `checker`, on what the raw clients were told, who share no code with the SDK, and on every ack;
* the SDK's own verifiers;
* `parley verify`: clients = log = archive = checkpoints.

Judged are promises only: nothing acked is lost, doubled, out of order or leaked, the same id is the same
message, and everybody is served again within `Scale.settle_s` of the last fault. How long a fault is felt is
reported, not judged.

Every wait has a deadline, and what is not done by then is named: a run ends.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.cli.verify import run_check
from shared.streams import DUPLICATE_WINDOW_S
from tests.bench.system import WORKSPACE
from tests.chaos import history
from tests.chaos.arena import ALONE, CLUSTER, SHORT, Arena, Scale, opened
from tests.chaos.checker import Wrong, check
from tests.chaos.faults import Injector
from tests.chaos.people import People, gathered
from tests.chaos.schedule import Fault, Kind, schedule
from tests.chaos.silence import Felt, Injury

__all__ = ["ALONE", "CLUSTER", "SHORT", "Outcome", "Scale", "run"]

Say = Callable[[str], None]


@dataclass(slots=True)
class Outcome:
    """What was done and what is wrong."""

    seed: int
    faults: list[Fault] = field(default_factory=list)
    skipped: dict[Kind, str] = field(default_factory=dict)
    """Kinds that this machine does not allow, and why."""
    felt: list[Felt] = field(default_factory=list)
    acked: int = 0
    repeats: int = 0
    late_repeats: int = 0
    events: int = 0
    """Deliveries, each one checked."""
    sessions: int = 0
    turns: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    took_s: float = 0.0
    wrong: list[Wrong] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    """The fewest records that show the first wrong thing."""
    folder: Path | None = None
    """Where everything was kept, if anything is wrong."""


async def run(
    seed: int,
    seconds: float,
    say: Say,
    *,
    cluster: bool = False,
    scale: Scale | None = None,
    faults_max: int | None = None,
    kinds: Sequence[Kind] = (),
    keep_in: Path | None = None,
) -> Outcome:
    """Run it; every wrong thing is in the outcome, nothing is raised for it.

    `kinds`: only these, if any are named. `keep_in`: where the records go, whatever the outcome; without it
    they are kept in a new directory if anything is wrong.
    """
    scale = scale or (CLUSTER if cluster else ALONE)
    began_s = time.monotonic()
    rng = random.Random(seed)
    outcome = Outcome(seed)
    async with opened(scale, kinds) as arena:
        outcome.skipped = arena.skipped
        outcome.faults = schedule(seed, seconds, arena.victims, pace=scale.pace, faults_max=faults_max)
        async with gathered(
            arena.system, arena.doors, rng, readers=scale.readers, window_s=DUPLICATE_WINDOW_S
        ) as people:
            injector = Injector(arena, [*people.speakers, *people.writers])
            say(f"{time.monotonic() - began_s:6.1f} s  everybody is there")
            people.act()
            injuries = await _break(injector, outcome.faults, say)
            await injector.heal()
            await asyncio.sleep(scale.linger_s)
            say(f"{time.monotonic() - began_s:6.1f} s  after the last fault: until everybody is served")
            outcome.wrong += await _settle(people, scale.settle_s)
            say(f"{time.monotonic() - began_s:6.1f} s  parley verify")
            outcome.felt = list(people.record.silences.felt(injuries))
            await _judge(arena, people, outcome, scale.verify_s)
            _count(people, outcome)
            if outcome.wrong or keep_in:
                await _tell(arena, people, outcome, injuries, keep_in)
    outcome.took_s = time.monotonic() - began_s
    return outcome


async def _break(injector: Injector, faults: Sequence[Fault], say: Say) -> list[Injury]:
    began_s = time.monotonic()
    injuries: list[Injury] = []
    for fault in faults:
        await asyncio.sleep(max(0.0, began_s + fault.at_s - time.monotonic()))
        say(str(fault))
        injury = await injector.hurt(fault)
        if injury is not None:
            injuries.append(injury)
    return injuries


async def _settle(people: People, within_s: float) -> list[Wrong]:
    """Until everybody is answered and has seen everything; who is not in time is named."""
    people.rest()
    deadline_s = time.monotonic() + within_s
    while laggards := [*people.unanswered(), *people.behind()]:
        if time.monotonic() > deadline_s:
            return [
                Wrong("stuck", who, f"{what}, {within_s:g} s after the last fault") for who, what in laggards
            ]
        await asyncio.sleep(0.1)
    return []


# ---------------------------------------------------------------- judging


async def _judge(arena: Arena, people: People, outcome: Outcome, verify_s: float) -> None:
    outcome.wrong += check(people.record, [*people.readings, people.revolving.reading])
    try:
        async with asyncio.timeout(3 * verify_s):
            report = await run_check(
                arena.system.directory.path, WORKSPACE, people.verifiers, wait_s=verify_s
            )
    except TimeoutError:
        outcome.wrong.append(Wrong("stuck", "parley verify", f"did not end within {3 * verify_s:g} s"))
    else:
        outcome.wrong += (Wrong("differs", "parley verify", what) for what in report.named)


def _count(people: People, outcome: Outcome) -> None:
    record = people.record
    outcome.acked = len({ack.id for ack in record.acks})
    outcome.repeats, outcome.late_repeats = record.repeats, record.late_repeats
    outcome.refused = record.refused
    outcome.events = people.deliveries
    outcome.sessions = sum(reader.sessions for reader in people.readers)
    outcome.turns = people.revolving.turns


async def _tell(
    arena: Arena, people: People, outcome: Outcome, injuries: Sequence[Injury], keep_in: Path | None
) -> None:
    folder = keep_in or Path(tempfile.mkdtemp(prefix=f"parley-chaos-{outcome.seed}-"))
    outcome.folder = folder
    if outcome.wrong:
        outcome.history = await history.smallest(
            arena.system, outcome.wrong[0], people.record, people.readings, injuries
        )
    history.keep(folder, arena.system, outcome.wrong, people.record, people.readings)
    (folder / "history.txt").write_text("\n".join(outcome.history))
