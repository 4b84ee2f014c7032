"""What a run shows, for people and for machines."""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.chaos.run import Outcome
from tests.chaos.silence import Felt

WRONG_MAX = 30
FAMILIES = ("lost", "doubled", "disorder", "leaked", "contradiction", "stuck", "refused", "differs")
GRACEFUL = frozenset({"terminate", "step down", "step down all"})


def show(console: Console, outcome: Outcome) -> None:
    """The tables, what is wrong, and one line of JSON."""
    console.print(_kinds(outcome.felt))
    console.print(_silences(outcome.felt))
    console.print(_counts(outcome))
    for kind, why in outcome.skipped.items():
        console.print(f"not done: {kind} ({why})")
    for wrong in outcome.wrong[:WRONG_MAX]:
        console.print(f"[red]✗[/] {escape(str(wrong))}", highlight=False)
    if outcome.wrong:
        console.print(f"[red]{len(outcome.wrong)} things are wrong[/]; seed {outcome.seed}")
        console.print(f"everything that was heard is in {outcome.folder}; the smallest history of the first:")
        console.print("\n".join(outcome.history), markup=False, highlight=False, soft_wrap=True)
    else:
        console.print("[green]✓ nothing is lost, doubled, out of order or leaked[/]")
    console.print(json.dumps(as_json(outcome)), markup=False, highlight=False, soft_wrap=True)


def as_json(outcome: Outcome) -> dict[str, object]:
    """The same for machines; times in seconds."""
    return {
        "seed": outcome.seed,
        "took_s": round(outcome.took_s, 1),
        "faults": len(outcome.felt),
        "kinds": dict(Counter(felt.injury.kind for felt in outcome.felt)),
        "acked": outcome.acked,
        "repeated": outcome.repeats,
        "repeated_after_the_window": outcome.late_repeats,
        "deliveries_checked": outcome.events,
        "sessions": outcome.sessions,
        **wrongs(outcome),
        "recovered_s": {
            kind: _p50_max(f.recovered_s for f in found) for kind, found in _by_kind(outcome.felt)
        },
        "silence_s": {name: _p50_max(f.longest_s for f in found) for name, found in _groups(outcome.felt)},
        "refused": dict(outcome.refused),
    }


def wrongs(outcome: Outcome) -> dict[str, int]:
    """How much is wrong, by family."""
    return dict.fromkeys(FAMILIES, 0) | Counter(wrong.family for wrong in outcome.wrong)


def _kinds(felt: Sequence[Felt]) -> Table:
    table = Table(
        title="until everybody was served again after the end of a fault, and the longest silence of a client"
    )
    for heading in ("fault", "times", "over p50", "over max", "silence p50", "silence max"):
        table.add_column(heading, justify="left" if heading == "fault" else "right")
    groups: defaultdict[str, list[Felt]] = defaultdict(list)
    for one in felt:
        groups[f"{one.injury.kind} {one.injury.victim}"].append(one)
    for what, found in sorted(groups.items()):
        over, silence = _p50_max(f.recovered_s for f in found), _p50_max(f.longest_s for f in found)
        table.add_row(what, str(len(found)), *(f"{value:.2f} s" for value in (*over, *silence)))
    return table


def _silences(felt: Sequence[Felt]) -> Table:
    table = Table(title="longest silence of any client")
    for heading in ("after", "times", "p50", "max", "whose"):
        table.add_column(heading, justify="left" if heading in {"after", "whose"} else "right")
    for name, found in _groups(felt):
        p50_s, max_s = _p50_max(f.longest_s for f in found)
        whose = max(found, key=lambda f: f.longest_s).who if found else ""
        table.add_row(name, str(len(found)), f"{p50_s:.2f} s", f"{max_s:.2f} s", whose)
    return table


def _counts(outcome: Outcome) -> Table:
    table = Table(title=f"seed {outcome.seed}, {outcome.took_s:.0f} s", show_header=False)
    rows: list[tuple[str, int]] = [
        ("faults", len(outcome.felt)),
        ("kinds of faults", len({felt.injury.kind for felt in outcome.felt})),
        ("commands acked", outcome.acked),
        ("given again under the same id", outcome.repeats),
        ("… after the duplicate window", outcome.late_repeats),
        ("deliveries checked", outcome.events),
        ("sessions of raw clients", outcome.sessions),
        ("joins and leaves", outcome.turns),
        *((family, count) for family, count in wrongs(outcome).items()),
    ]
    for name, count in rows:
        table.add_row(name, f"{count:,}")
    return table


def _by_kind(felt: Sequence[Felt]) -> list[tuple[str, list[Felt]]]:
    kinds = sorted({one.injury.kind for one in felt})
    return [(kind, [one for one in felt if one.injury.kind == kind]) for kind in kinds]


def _groups(felt: Sequence[Felt]) -> list[tuple[str, list[Felt]]]:
    """The two that a limit is given for: a leader that is killed, and everything that is done gracefully.

    Alone: everybody had been served again after every fault before it.
    """
    killed = [f for f in felt if f.injury.kind == "kill" and f.injury.victim == "nats leader"]
    graceful = [f for f in felt if f.injury.kind in GRACEFUL]
    groups = [("killed leader", killed), ("graceful", graceful), ("anything", list(felt))]
    alone = [(f"{name}, alone", [f for f in found if f.alone]) for name, found in groups]
    return [pair for pairs in zip(groups, alone, strict=True) for pair in pairs]


def _p50_max(values_s: Iterable[float]) -> tuple[float, float]:
    values = list(values_s)
    return (round(statistics.median(values), 2), round(max(values), 2)) if values else (0.0, 0.0)
