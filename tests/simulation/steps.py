"""Histories: the steps that a seed chooses, and what comes of them.

A step is a name and two numbers, so a history can be replayed, and still means something when steps are left
out of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.simulation.world import World


class Step(NamedTuple):
    """What happens next."""

    name: str
    a: int
    b: int


Action = Callable[[World, int, int], None]
STEPS: dict[str, tuple[int, Action]] = {
    "publish": (22, World.publish),
    "order": (8, World.order),
    "again": (8, World.again),
    "create_again": (1, World.create_again),
    "trouble": (9, lambda world, a, b: world.network.trouble(a, b)),
    "elect": (2, lambda world, a, b: world.network.elect(a, b)),
    "kill_edge": (5, World.kill_edge),
    "freeze_edge": (4, World.freeze_edge),
    "deliver": (26, lambda world, a, b: world.network.deliver(a, b)),
    "run": (40, World.run),
    "follow": (14, World.follow),
    "sequence": (6, lambda world, a, b: world.sequencing.go_on(a, b)),
    "save": (6, World.save),
    "crash_sequencer": (4, lambda world, a, _: world.sequencing.crash(a)),
    "stop_sequencer": (16, lambda world, a, _: world.sequencing.stop(a)),
    "lose_bucket": (3, lambda world, a, _: world.sequencing.lose_bucket(a)),
    "commit": (6, lambda world, a, b: world.archiving.commit(a, b)),
    "crash_archiver": (2, lambda world, a, b: world.archiving.crash_archiver(a, b)),
    "start_archiver": (6, lambda world, a, b: world.archiving.start_archiver(a, b)),
    "sweep_disk": (7, lambda world, a, b: world.archiving.sweep_disk(a, b)),
    "heads": (4, World.heads),
    "hint": (8, lambda world, a, _: world.receivers.hint(a)),
    "sweep": (2, World.sweep),
    "lag": (3, World.lag),
    "bus_away": (2, World.bus_away),
    "trim": (7, World.trim),
    "connect": (11, World.connect),
    "disconnect": (3, lambda world, a, _: world.receivers.disconnect(a)),
    "resume": (5, World.resume),
    "stall": (8, lambda world, a, _: world.receivers.stall(a)),
    "read": (5, lambda world, a, _: world.receivers.read(a)),
    "wait": (5, World.wait),
}
ABSENT: tuple[tuple[str, ...], ...] = (
    ("connect", "disconnect", "resume", "stall", "read", "hint", "heads", "sweep"),
    ("order", "again", "create_again"),
    ("trouble", "elect", "kill_edge", "freeze_edge"),
    ("stop_sequencer", "lose_bucket"),
    ("crash_sequencer", "crash_archiver"),
    ("start_archiver", "sweep_disk"),
    ("lag", "bus_away", "trim", "wait"),
)
"""What a seed may do without, each with the same chance: what is left happens undisturbed, and longer."""

ABSENT_SHARE = 1 / 3
_NAMES = list(STEPS)
_WEIGHTS = [weight for weight, _ in STEPS.values()]


def take(world: World, step: Step) -> None:
    """Let it happen."""
    STEPS[step.name][1](world, step.a, step.b)


def history(seed: int) -> list[Step]:
    """The steps of a seed."""
    rng = random.Random(seed)
    absent = {name for names in ABSENT if rng.random() < ABSENT_SHARE for name in names}
    names = rng.choices(_NAMES, _WEIGHTS, k=rng.randint(20, 80))
    steps = [Step(name, rng.getrandbits(20), rng.getrandbits(20)) for name in names]
    return [step for step in steps if step.name not in absent]


def replay(steps: Sequence[Step]) -> Exception | None:
    """Take these steps, then settle; what was broken by it, if anything was."""
    world = World()
    try:
        for step in steps:
            take(world, step)
        world.settle()
    except Exception as error:  # noqa: BLE001 - whatever the code under test raises is a finding
        return error
    finally:
        world.close()
    return None
