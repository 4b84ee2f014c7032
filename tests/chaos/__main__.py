"""`just chaos`: break things under load, then prove that nothing is lost."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from functools import partial
from pathlib import Path

from rich.console import Console

from tests.chaos.report import show
from tests.chaos.run import run
from tests.chaos.schedule import KINDS


def main() -> int:
    """Run once; exit code 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="just chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--cluster", action="store_true", help="what `just cluster` runs")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=(), metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--keep-in", type=Path, help="keep all that was heard and all logs there")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    say = partial(print, flush=True)
    running = run(
        options.seed,
        options.minutes * 60,
        say,
        cluster=options.cluster,
        kinds=options.only,
        keep_in=options.keep_in,
    )
    outcome = asyncio.run(running)
    show(Console(), outcome)
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
