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
    "deliver": (26, lambda world, a, b: world.bus.deliver(a, b)),
    "run": (34, World.run),
    "follow": (14, World.follow),
    "save": (4, World.save),
    "crash_sequencer": (2, World.crash_sequencer),
    "commit": (6, lambda world, a, b: world.archiving.commit(a, b)),
    "crash_archiver": (2, lambda world, a, b: world.archiving.crash_archiver(a, b)),
    "start_archiver": (4, lambda world, a, b: world.archiving.start_archiver(a, b)),
    "sweep_disk": (1, lambda world, a, b: world.archiving.sweep_disk(a, b)),
    "heads": (4, World.heads),
    "hint": (8, World.hint),
    "sweep": (2, World.sweep),
    "lag": (3, World.lag),
    "bus_away": (2, World.bus_away),
    "trim": (1, World.trim),
    "connect": (8, World.connect),
    "disconnect": (3, World.disconnect),
    "resume": (3, World.resume),
    "stall": (3, World.stall),
    "read": (4, World.read),
    "wait": (1, World.wait),
}
_NAMES = list(STEPS)
_WEIGHTS = [weight for weight, _ in STEPS.values()]


def take(world: World, step: Step) -> None:
    """Let it happen."""
    STEPS[step.name][1](world, step.a, step.b)


def history(seed: int) -> list[Step]:
    """The steps of a seed."""
    rng = random.Random(seed)
    names = rng.choices(_NAMES, _WEIGHTS, k=rng.randint(30, 100))
    return [Step(name, rng.getrandbits(20), rng.getrandbits(20)) for name in names]


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
        world.works.close()
    return None
