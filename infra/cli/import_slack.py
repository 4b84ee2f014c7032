"""`parley import slack`: brings a Slack export into the workspace, as often as you like."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from infra.cli.access import ACCESS_DEFAULT, Access, opened
from infra.cli.progress import steps
from infra.slack.run import Imported, import_slack
from shared.client import Client

IMPORTER = "slack-importer"


def slack(file: Path, /, *, access: Access = ACCESS_DEFAULT) -> None:
    """Import the export in FILE: channels, members, messages, threads, edits, reactions, pins.

    Ids are derived from the export, so a second run changes nothing. Every record that is left out is
    counted with its reason.
    """
    asyncio.run(_slack(file, access))


async def _slack(file: Path, access: Access) -> None:
    console = Console()
    token = access.token or access.token_for(IMPORTER, ["import"])
    with steps(console) as progress:
        task = progress.add_task("connecting", total=None)

        def show_progress(name: str, given: int, of: int) -> None:
            progress.update(task, description=name, completed=given, total=of)

        importer = Client(access.sockets(), token, name="parley-import-slack")
        async with opened(importer, access) as client:
            done = await import_slack(client, file, team=access.workspace, progress=show_progress)
    show(console, done)


def show(console: Console, done: Imported) -> None:
    """What was recorded, what was there already, and what was left out or changed, and why."""
    table = Table(title=f"{done.channels:,} channels")
    table.add_column("command")
    table.add_column("recorded now", justify="right")
    table.add_column("recorded before", justify="right")
    for kind in sorted(done.new.keys() | done.duplicate.keys()):
        table.add_row(kind, f"{done.new[kind]:,}", f"{done.duplicate[kind]:,}")
    console.print(table)
    tally = done.tally
    console.print(
        f"{tally.records:,} records in the export: {tally.recorded:,} recorded,"
        f" {tally.merged.total():,} copies, {tally.skipped.total():,} skipped"
    )
    _reasons(console, "records that are copies", tally.merged)
    _reasons(console, "records that were skipped", tally.skipped)
    _reasons(console, "other things left out", tally.omitted)
    _reasons(console, "imported with a change", tally.altered)
    if not done.new:
        console.print("[green]✓ nothing new: everything was there already[/]")


def _reasons(console: Console, title: str, counts: Counter[str]) -> None:
    if not counts:
        console.print(f"{title}: none")
        return
    table = Table(title=title)
    table.add_column("reason")
    table.add_column("count", justify="right")
    for reason, count in counts.most_common():
        table.add_row(Text(reason), f"{count:,}")
    console.print(table)
