"""`parley bench`: the benchmarks of the source tree."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from shared.errors import Misconfigured, Unavailable

_ROOT = Path(__file__).parents[2]


def bench(
    *names: Annotated[
        str,
        Parameter(
            help="fold, archive, path, late, idle, lagging, storm, durability (these if none is named); "
            "ingest, activate, connects, rolling, fan-out, history, bucket, search and sql take minutes each."
        ),
    ],
    json: Annotated[bool, Parameter(help="JSON lines instead of a table.")] = False,
    repetitions: Annotated[int, Parameter(help="Of every case; medians are reported.")] = 5,
    plots: Annotated[
        Path | None, Parameter(help="Directory for plots (SVG) of those that draw one: path, storm.")
    ] = None,
) -> None:
    """Measure latency, throughput and cost of a system of its own on this machine."""
    if not (_ROOT / "tests" / "bench" / "__main__.py").exists():
        raise Misconfigured(
            f"there is no tests/bench in {_ROOT}: the benchmarks come with the source tree; "
            "run `uv run parley bench` in a clone of the repository"
        )
    command = [sys.executable, "-m", "tests.bench", *names, "--repetitions", str(repetitions)]
    command += ["--json"] if json else []
    command += ["--plots", str(plots.resolve())] if plots else []
    done = subprocess.run(command, cwd=_ROOT, check=False)
    if done.returncode < 0:
        raise Unavailable(f"the benchmark was ended by {signal.Signals(-done.returncode).name}")
    sys.exit(done.returncode)
