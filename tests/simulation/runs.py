"""Many seeds, on as many cores as there are, and what to say when one of them finds something."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.lending import deterministic
from tests.simulation.shrinking import shrunk, told
from tests.simulation.steps import history, replay

SHARE = 250
"""Seeds that a process takes at a time: about a second."""


def first_failure(seeds: Iterable[int]) -> int | None:
    """The first of these seeds whose run breaks a promise."""
    with deterministic():
        return next((seed for seed in seeds if replay(history(seed)) is not None), None)


def first_failure_of_many(seeds: range, workers: int | None = None) -> int | None:
    """The same, shared by processes; no seed is begun after a share with a failure."""
    shares = [seeds[at : at + SHARE] for at in range(0, len(seeds), SHARE)]
    pool = ProcessPoolExecutor(workers or os.cpu_count())
    try:
        return next((failed for failed in pool.map(first_failure, shares) if failed is not None), None)
    finally:
        pool.shutdown(cancel_futures=True)


def report(seed: int) -> str:
    """The seed, what it broke, and the smallest history that shows it."""
    with deterministic():
        steps = history(seed)
        kind = type(replay(steps))
        smallest = shrunk(steps, lambda fewer: type(replay(fewer)) is kind)
        return f"seed {seed}: {replay(smallest)!r}, shown by {len(smallest)} steps:\n{told(smallest)}"
