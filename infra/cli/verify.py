"""`parley verify`: proves that all hold the same, or that nobody holds what is erased."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.cli.options import DATA_DEFAULT, WORKSPACE_DEFAULT, DataOption, WorkspaceOption, data_directory
from infra.erasure.proof import ErasedReport, check_erased
from infra.proof.check import Note, Report, check
from infra.proof.findings import Findings
from shared.bus import Bus
from shared.client import Verifier
from shared.errors import BadRequest
from shared.ids import workspace_id


async def verify(
    given: Annotated[
        list[str] | None,
        Parameter(help="Dumps of client verifiers; with --erased: texts that no file may hold."),
    ] = None,
    /,
    *,
    erased: Annotated[
        bool, Parameter(negative=(), help="Prove that nothing is left of what is erased.")
    ] = False,
    wait: Annotated[float, Parameter(help="Seconds that archiver and sequencer have to catch up.")] = 60.0,
    reader: Annotated[
        list[Path] | None,
        Parameter(
            negative=(),
            help="With --erased: the PARLEY_ARCHIVE_CACHE of a reader outside of the data directory.",
        ),
    ] = None,
    workspace: WorkspaceOption = WORKSPACE_DEFAULT,
    data: DataOption = DATA_DEFAULT,
) -> None:
    """Read every log from its beginning and compare it with the archive, the checkpoints and the clients.

    With --erased instead: look for texts of what is erased in every file of the archive and in the logs, and
    for the texts that are given in every byte below the data directory. Ends with exit code 1 if anything
    differs, or is found, and names it.
    """
    console = Console()
    if erased:
        await _verify_erased(console, data, given or (), wait, reader or ())
        return
    verifiers = [_loaded(Path(path)) for path in given or ()]
    with console.status("") as status:
        report = await run_check(
            data, workspace, verifiers, wait_s=wait, note=lambda what: status.update(f"{what} …")
        )
    show(console, report)
    if not report.clean:
        sys.exit(1)


async def _verify_erased(
    console: Console, data: Path, texts: Sequence[str], wait_s: float, readers: Sequence[Path]
) -> None:
    for one in readers:
        if not one.is_dir():
            raise BadRequest(f"--reader: {one} is no directory")
    if not all(texts):
        raise BadRequest("--erased: an empty text is everywhere")
    directory = data_directory(data)
    settings = directory.operator_settings()
    with console.status("") as status:
        async with Bus.connect(settings, "verify") as bus:
            report = await check_erased(
                bus,
                directory.archive,
                directory.path,
                settings.partitions,
                texts,
                wait_s=wait_s,
                note=lambda what: status.update(f"{what} …"),
                readers=readers,
            )
    show_erased(console, report)
    if not report.clean:
        sys.exit(1)


def show_erased(console: Console, report: ErasedReport) -> None:
    """How much is erased, then every trace by name."""
    console.print(f"{report.erasures:,} erasures name {report.events:,} events", highlight=False)
    _name(console, report, "nothing is left of them", "traces")


def _loaded(path: Path) -> Verifier:
    try:
        return Verifier.load(path.read_bytes())
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRequest(f"{path} is no dump of a client's verifier: {error}") from error


async def run_check(
    data: Path,
    workspace: str,
    verifiers: Sequence[Verifier],
    *,
    wait_s: float = 60.0,
    note: Note = lambda _: None,
) -> Report:
    """Check the system that runs in a data directory."""
    directory = data_directory(data)
    settings = directory.operator_settings()
    async with Bus.connect(settings, "verify") as bus:
        return await check(
            bus,
            directory.archive,
            settings.partitions,
            workspace=workspace_id(workspace),
            verifiers=verifiers,
            wait_s=wait_s,
            note=note,
        )


def show(console: Console, report: Report) -> None:
    """The report as a table, then every difference by name."""
    table = Table(title="clients = log = archive = checkpoints")
    for heading in ("partition", "channels", "log", "archive", "checkpoints", "differences"):
        table.add_column(heading, justify="right")
    for line in report.lines:
        row = (line.partition, line.channels, line.log, line.archive, line.checkpoints, line.differences)
        table.add_row(*(f"{number:,}" for number in row))
    console.print(table)
    if report.clients:
        console.print(
            f"{report.clients} clients saw {report.client_events:,} events,"
            f" {report.client_differences} differences"
        )
    _name(console, report, "nothing differs", "differences")


def _name(console: Console, findings: Findings, none: str, several: str) -> None:
    for what in findings.named:
        console.print(f"[red]✗[/] {escape(what)}", highlight=False, soft_wrap=True)
    if findings.count > len(findings.named):
        console.print(f"… and {findings.count - len(findings.named)} more")
    console.print(f"[green]✓ {none}[/]" if findings.clean else f"[red]{findings.count} {several}[/]")
