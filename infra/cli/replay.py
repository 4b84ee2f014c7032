"""`parley replay`: sends a file of chat lines through real WebSocket clients, and proves what arrived."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import uvloop
from cyclopts import Parameter, validators
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from infra.cli.access import ACCESS_DEFAULT, Access
from infra.cli.verify import run_check, show
from infra.replay.rule import Rule, parse
from infra.replay.run import Outcome
from infra.replay.run import replay as run_replay
from infra.replay.source import count, name_of, read

REFRESH_S = 0.5

_COUNT = validators.Number(gte=1, lte=100_000)


def replay(
    file: Path,
    /,
    *,
    access: Access = ACCESS_DEFAULT,
    channels: Annotated[int, Parameter(validator=_COUNT, help="Channels, busiest first (Zipf).")] = 200,
    senders: Annotated[int, Parameter(validator=_COUNT, help="Connections that send.")] = 50,
    receivers: Annotated[int, Parameter(help="Connections that listen, 20 channels each.")] = 50,
    limit: Annotated[int | None, Parameter(help="Send only the first lines.")] = None,
    window: Annotated[
        int, Parameter(validator=_COUNT, help="Unanswered lines of a sender, as far as the server allows.")
    ] = 256,
    wait: Annotated[
        float, Parameter(help="Seconds for deliveries, archive and checkpoints at the end.")
    ] = 120.0,
    check: Annotated[bool, Parameter(help="Verify log, archive and checkpoints at the end.")] = True,
) -> None:
    """Send every line of FILE (NDJSON of ts, user, text; may be gzipped) through real clients.

    Running it again adds nothing: ids are derived from the input. Ends with exit code 1 if anything is
    missing, doubled or out of order anywhere.
    """
    uvloop.run(
        _replay(
            file,
            access,
            Rule(access.workspace, name_of(file), channels, min(senders, channels), receivers),
            limit=limit,
            window=window,
            wait_s=wait,
            check=check,
        )
    )


async def _replay(
    file: Path, access: Access, rule: Rule, *, limit: int | None, window: int, wait_s: float, check: bool
) -> None:
    console = Console()
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(
        *columns,
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        console=console,
        auto_refresh=False,  # its thread would take the interpreter from the clients ten times a second
    ) as progress:
        task = progress.add_task("connecting", total=None, rate="")
        shown_s = 0.0

        def show_progress(what: str, done: int, total: int) -> None:
            nonlocal shown_s
            speed = progress.tasks[0].speed
            progress.update(task, description=what, completed=done, total=total, rate=f"{speed or 0:,.0f}/s")
            if time.monotonic() - shown_s >= REFRESH_S:
                progress.refresh()
                shown_s = time.monotonic()

        outcome = await run_replay(
            rule,
            access.sockets(),
            access.token_for,
            parse(read(file, limit)),
            count(file, limit),
            window=window,
            wait_s=wait_s,
            progress=show_progress,
        )
    _summarise(console, rule, outcome)
    good = outcome.good
    if check:
        with console.status("") as status:
            report = await run_check(
                access.data,
                access.workspace,
                outcome.verifiers,
                wait_s=wait_s,
                note=lambda what: status.update(f"{what} …"),
            )
        show(console, report)
        good = good and report.clean
    if not good:
        sys.exit(1)


def _summarise(console: Console, rule: Rule, outcome: Outcome) -> None:
    sent = outcome.sent
    table = Table(
        title=f"replay of {rule.name}: {rule.channels} channels, {rule.senders} senders", show_header=False
    )
    rows = {
        "messages answered": f"{sent.done:,} in {outcome.seconds:.1f} s = {outcome.rate:,.0f} msg/s",
        "recorded now": f"{sent.new:,}" + (" (nothing new)" if sent.new == 0 else ""),
        "recorded before (duplicate)": f"{sent.duplicate:,}",
        "bad lines": f"{sent.bad:,}",
        "ack p50 / p99": _percentiles(sent.ack_s),
        "delivery p50 / p99 (from the log's time)": _percentiles(outcome.delivery_s),
        "processor time of these clients": f"{outcome.cpu_s:.1f} s"
        f" = {outcome.cpu_s / max(1, sent.done) * 1e6:,.0f} µs a message with its deliveries",
        "receivers": f"{len(outcome.verifiers)}, {sum(v.events for v in outcome.verifiers):,} events,"
        f" {sum(v.fault_count for v in outcome.verifiers)} faults, {outcome.unseen} behind",
    }
    rows |= {f"[red]refused: {code}[/]": f"{number:,}" for code, number in sent.refused.items()}
    for what, value in rows.items():
        table.add_row(what, value)
    console.print(table)


def _percentiles(values_s: Sequence[float]) -> str:
    if not values_s:
        return "–"
    ordered = sorted(values_s)
    p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    return f"{p50 * 1000:.1f} / {p99 * 1000:.1f} ms"
