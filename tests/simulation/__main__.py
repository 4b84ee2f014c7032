"""`just simulate`: as many seeds as wanted, from any first one."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.runs import first_failure, report


def main() -> None:
    """Run, say how fast it was, and end with 1 if a seed found something."""
    options = argparse.ArgumentParser(prog="just simulate", description=__doc__)
    options.add_argument("--seeds", type=int, default=10_000, help="how many (10000)")
    options.add_argument("--seed", type=int, default=0, help="the first one (0)")
    chosen = options.parse_args()
    began_s = time.process_time()
    failed = first_failure(range(chosen.seed, chosen.seed + chosen.seeds))
    took_s = time.process_time() - began_s
    ran = chosen.seeds if failed is None else failed - chosen.seed + 1
    print(f"{ran} seeds in {took_s:.1f} s of one core, {ran / took_s:.0f} a second")
    if failed is not None:
        sys.exit(report(failed))


main()
