"""`python -m tests.bench [NAME…] [--json] [--repetitions N] [--plots DIR]`: measure, and show the figures.

Run it on an otherwise idle machine; a run of everything takes some ten minutes.
"""

from __future__ import annotations

import importlib
import resource
import sys
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
import structlog
from rich.console import Console

from tests.bench import report
from tests.bench.loop import run
from tests.bench.plot import Plot, svg

Name = Literal[
    "fold",
    "archive",
    "path",
    "late",
    "idle",
    "lagging",
    "storm",
    "durability",
    "ingest",
    "activate",
    "connects",
    "rolling",
    "fan-out",
    "history",
    "bucket",
    "search",
    "sql",
]
NAMES: tuple[Name, ...] = ("fold", "archive", "path", "late", "idle", "lagging", "storm", "durability")
"""What runs if nothing is named: the others take minutes each."""


def main(
    *names: Name,
    json: Annotated[bool, cyclopts.Parameter(help="JSON lines instead of a table.")] = False,
    repetitions: Annotated[int, cyclopts.Parameter(help="Of every case; medians are reported.")] = 5,
    plots: Annotated[Path | None, cyclopts.Parameter(help="Where plots are written, as SVG.")] = None,
) -> None:
    """Run the benchmarks named, or all."""
    _many_files()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
    figures: list[report.Figure] = []
    where = report.circumstances()
    for name in names or NAMES:
        print(f"{name} …", file=sys.stderr, flush=True)
        module = importlib.import_module("tests.bench." + name.replace("-", "_"))
        found: list[report.Figure | Plot] = run(module.measure(repetitions))
        new = [one for one in found if isinstance(one, report.Figure)]
        figures += new
        if json:
            print("\n".join(report.json_lines(new, where)), flush=True)
        for one in found:
            if isinstance(one, Plot) and plots is not None:
                (plots / f"{one.bench}.svg").write_text(svg(one))
    if not json:
        report.show(figures, where, Console(width=None if sys.stdout.isatty() else 160))


def _many_files() -> None:
    """A thousand connections need as many descriptors, here and in every child."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    cyclopts.run(main)
