"""The result of a benchmark: one figure a line, for people as a table, for machines as JSON lines."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import orjson
from rich.console import Console
from rich.table import Table

from tests.bench.measure import call_ns, cpu_pressure

ROOT = Path(__file__).parents[2]
Judged = Literal["value", "ratio"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number. `reference` was measured in the same run, `ratio` is the median ratio to it.

    `target` bounds the value, or the ratio where `judged` says so: from above, or from below where more is
    better (`at_least`).
    """

    bench: str
    case: str
    figure: str
    unit: str
    value: float
    repetitions: int
    reference: float | None = None
    reference_name: str = ""
    ratio: float | None = None
    target: float | None = None
    judged: Judged = "value"
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        judged = self.value if self.judged == "value" else self.ratio
        if self.target is None or judged is None:
            return None
        return judged >= self.target if self.at_least else judged <= self.target

    @property
    def bound(self) -> str:
        """The target as people write it."""
        if self.target is None:
            return ""
        unit = "x" if self.judged == "ratio" else f" {self.unit}"
        return f"{'≥' if self.at_least else '≤'} {self.target:g}{unit}"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Where a run took place."""

    machine: str
    commit: str
    python: str
    call_ns: float
    """CPU of one plain Python call: it tells builds of one version apart (see DESIGN.md of the edge)."""
    cpu_pressure_percent: float | None


def circumstances() -> Circumstances:
    """Processor and cores, the commit (with `+` if files were changed), and how busy the machine was."""
    commit = _git("rev-parse", "--short", "HEAD")
    changed = "+" if _git("status", "--porcelain", "--untracked-files=no") else ""
    return Circumstances(
        machine=f"{_cores()} x {_processor()}, Linux {platform.release()}",
        commit=commit + changed,
        python=platform.python_version(),
        call_ns=round(call_ns(), 1),
        cpu_pressure_percent=cpu_pressure(),
    )


def json_lines(figures: Iterable[Figure], where: Circumstances) -> list[str]:
    """One JSON object per figure."""
    return [orjson.dumps(asdict(figure) | {"met": figure.met} | asdict(where)).decode() for figure in figures]


def show(figures: Iterable[Figure], where: Circumstances, console: Console) -> None:
    """A table for people."""
    python = f"Python {where.python} ({where.call_ns:.0f} ns a call)"
    table = Table(title=f"{where.machine}, {python}, commit {where.commit}", title_justify="left")
    for column in ("bench", "case", "figure"):
        table.add_column(column)
    for column in ("value", "reference", "ratio", "target", "met", "n"):
        table.add_column(column, justify="right")
    for one in figures:
        table.add_row(
            one.bench,
            one.case,
            one.figure,
            f"{_short(one.value)} {one.unit}",
            f"{_short(one.reference)} ({one.reference_name})" if one.reference is not None else "",
            f"{one.ratio:.2f}" if one.ratio is not None else "",
            one.bound,
            {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[one.met],
            str(one.repetitions),
        )
    console.print(table)
    if where.cpu_pressure_percent is not None:
        console.print(f"somebody waited for a core {where.cpu_pressure_percent:.0f} % of the last 10 s")


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _cores() -> int:
    return sum(line.startswith("processor") for line in Path("/proc/cpuinfo").read_text().splitlines())


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or ("unknown" if arguments[0] == "rev-parse" else "")
