"""`just simulate`: as many seeds as wanted, from any first one, on all cores."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation.faults import hollow, table
from tests.simulation.runs import report, run_many


def main() -> None:
    """Run, say what struck and how fast it was; end with 1 if a seed found something or a fault was rare."""
    options = argparse.ArgumentParser(prog="just simulate", description=__doc__)
    options.add_argument("--seeds", type=int, default=10_000, help="how many (10000)")
    options.add_argument("--seed", type=int, default=0, help="the first one (0)")
    options.add_argument("--workers", type=int, help="processes (as many as cores)")
    chosen = options.parse_args()
    seeds = range(chosen.seed, chosen.seed + chosen.seeds)
    began_s = time.monotonic()
    outcome = run_many(seeds, chosen.workers)
    took_s = time.monotonic() - began_s
    times = os.times()
    busy_s = times.children_user + times.children_system
    if outcome.failed is not None:
        sys.exit(report(outcome.failed))
    print(f"seeds in which each fault made a difference\n{table(outcome.struck, len(seeds))}")
    print(
        f"{len(seeds)} seeds kept every promise: {took_s:.1f} s, {len(seeds) / took_s:.0f} a second;"
        f" {busy_s:.1f} s of one core, {len(seeds) / busy_s:.0f} a second"
    )
    missing = hollow(outcome.struck, len(seeds))
    if missing:
        sys.exit(f"the simulation is hollow; too seldom: {', '.join(missing)}")


if __name__ == "__main__":
    main()
