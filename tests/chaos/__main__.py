"""`just chaos`: break things under load, then prove that nothing is lost."""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
from functools import partial

from tests.chaos.run import Outcome, run


def main() -> int:
    """Run once; exit code 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="just chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--cluster", action="store_true", help="three NATS servers, mode quorum")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    say = partial(print, flush=True)
    outcome = asyncio.run(run(options.seed, options.minutes * 60, say, cluster=options.cluster))
    show(outcome)
    return 1 if outcome.wrong else 0


def show(outcome: Outcome) -> None:
    """What was done, how long it was felt, and what is wrong."""
    print(
        f"{len(outcome.faults)} faults, {outcome.acked:,} commands acked, {outcome.events:,} deliveries"
        f" checked, {outcome.sessions} sessions of raw readers, {outcome.turns} joins and leaves"
    )
    print("longest time without an ack in the five seconds after a fault, p50 and max:")
    for what, silences in sorted(outcome.recovered_s.items()):
        print(f"  {what:22} {statistics.median(silences):5.2f} s  {max(silences):5.2f} s  ({len(silences)})")
    print("\n".join(outcome.wrong[:50]) or "nothing is lost, doubled, out of order or leaked")


if __name__ == "__main__":
    sys.exit(main())
