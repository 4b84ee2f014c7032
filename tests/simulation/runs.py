"""Many seeds, on as many cores as there are, and what to say when one of them finds something."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from tests.simulation.lending import deterministic
from tests.simulation.shrinking import shrunk, told
from tests.simulation.steps import history, replay
from tests.simulation.turns import Current

SHARE = 250
"""Seeds that a process takes at a time: some seconds."""


class Outcome(NamedTuple):
    """The first seed whose run breaks a promise, and in how many seeds each fault has struck."""

    failed: int | None
    struck: Counter[str]


def run(seeds: Iterable[int]) -> Outcome:
    """Run these seeds, up to the first that breaks a promise."""
    struck: Counter[str] = Counter()
    with deterministic():
        for seed in seeds:
            if replay(history(seed)) is not None:
                return Outcome(seed, struck)
            struck.update(Current.struck.keys())
    return Outcome(None, struck)


def first_failure(seeds: Iterable[int]) -> int | None:
    """The first of these seeds whose run breaks a promise."""
    return run(seeds).failed


def run_many(seeds: range, workers: int | None = None) -> Outcome:
    """The same, shared by processes; no seed is begun after a share with a failure."""
    shares = [seeds[at : at + SHARE] for at in range(0, len(seeds), SHARE)]
    struck: Counter[str] = Counter()
    pool = ProcessPoolExecutor(workers or os.cpu_count(), initializer=_collect_seldom)
    try:
        for share in pool.map(run, shares):
            struck += share.struck
            if share.failed is not None:
                return Outcome(share.failed, struck)
        return Outcome(None, struck)
    finally:
        pool.shutdown(cancel_futures=True)


def _collect_seldom() -> None:
    """Worlds are full of cycles and short-lived: looking for garbage took a sixth of the time."""
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)


def report(seed: int) -> str:
    """The seed, what it broke, and the smallest history that shows it."""
    with deterministic():
        steps = history(seed)
        kind = type(replay(steps))
        smallest = shrunk(steps, lambda fewer: type(replay(fewer)) is kind)
        return f"seed {seed}: {replay(smallest)!r}, shown by {len(smallest)} steps:\n{told(smallest)}"
