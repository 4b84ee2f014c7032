"""Many seeds, and what to say when one of them finds something."""

from __future__ import annotations

from collections.abc import Iterable

from tests.simulation.shrinking import shrunk, told
from tests.simulation.steps import history, replay
from tests.simulation.turns import deterministic


def first_failure(seeds: Iterable[int]) -> int | None:
    """The first of these seeds whose run breaks a promise."""
    with deterministic():
        return next((seed for seed in seeds if replay(history(seed)) is not None), None)


def report(seed: int) -> str:
    """The seed, what it broke, and the smallest history that shows it."""
    with deterministic():
        steps = history(seed)
        kind = type(replay(steps))
        smallest = shrunk(steps, lambda fewer: type(replay(fewer)) is kind)
        return f"seed {seed}: {replay(smallest)!r}, shown by {len(smallest)} steps:\n{told(smallest)}"
