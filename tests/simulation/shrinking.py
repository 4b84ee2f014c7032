"""The smallest history that shows what a seed found: a shorter prefix, then fewer steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.simulation.steps import Step

TRIES_MAX = 3_000

Fails = Callable[[Sequence[Step]], bool]


def shrunk(steps: Sequence[Step], fails: Fails) -> list[Step]:
    """Leave out ever smaller stretches of steps as long as it still fails."""
    smallest, tries = list(steps), 0
    size = max(1, len(smallest) // 2)
    while tries < TRIES_MAX:
        at, left_out = len(smallest) - size, False
        while at > -size and tries < TRIES_MAX:
            shorter = smallest[: max(0, at)] + smallest[at + size :]
            tries += 1
            if fails(shorter):
                smallest, left_out = shorter, True
            at -= size
        if size == 1 and not left_out:
            break
        size = max(1, size // 2)
    return smallest


def told(steps: Sequence[Step]) -> str:
    """A history as text that `replay` takes again."""
    return "\n".join(f"    Step({step.name!r}, {step.a}, {step.b})," for step in steps)
