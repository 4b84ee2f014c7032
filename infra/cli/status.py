"""`parley status`: what runs, what the logs hold, how far the services are behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from infra.cli.options import DATA_DEFAULT, DataOption, data_directory
from infra.cli.stream_report import PartitionReport, partition_reports
from infra.local.data_directory import DataDirectory
from infra.local.probe import Readiness, readiness
from infra.local.run_file import Run
from shared.bus import Bus
from shared.errors import Unavailable


def status(*, data: DataOption = DATA_DEFAULT) -> None:
    """Show processes, logs, sequencer positions and archive watermarks; fails if anything is not ready."""
    directory = data_directory(data)
    run = directory.run()
    console = Console(highlight=False)
    answers = asyncio.run(_probe(run))
    console.print(f"{run.state}, supervisor {run.supervisor}, NATS {run.nats_url}", soft_wrap=True)
    console.print(_process_table(run, answers))
    console.print(_partition_table(asyncio.run(_partitions(directory, run))))
    waiting = [
        process.name for process, answer in zip(run.processes, answers, strict=True) if not answer.ready
    ]
    if waiting:
        raise Unavailable(f"not ready: {', '.join(waiting)}; see {directory.logs}/")


async def _probe(run: Run) -> list[Readiness]:
    return await asyncio.gather(*(readiness(process.url, process.ready_path) for process in run.processes))


async def _partitions(directory: DataDirectory, run: Run) -> list[PartitionReport]:
    async with Bus.connect(directory.operator_settings(), "parley status") as bus:
        return await partition_reports(bus, run.partitions)


def _process_table(run: Run, answers: Sequence[Readiness]) -> Table:
    table = Table("process", "pid", "restarts", "address", "ready", box=None, pad_edge=False)
    for process, answer in zip(run.processes, answers, strict=True):
        ready = "[green]yes[/]" if answer.ready else f"[red]no[/]: {answer.detail}"
        table.add_row(process.name, str(process.pid or "-"), str(process.restarts), process.url, ready)
    return table


def _partition_table(reports: Sequence[PartitionReport]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("log", "channels", "events", "first", "last", "consumers", "numbered", "archived"):
        table.add_column(column, justify="left" if column == "log" else "right")
    for report in reports:
        table.add_row(
            report.stream,
            *(f"{number:,}" for number in (report.channels, report.events, report.first, report.last)),
            f"{report.consumers}",
            _behind(report.last, report.numbered),
            _behind(report.last, report.archived),
        )
    return table


def _behind(last: int, position: int | None) -> str:
    if position is None:
        return "[yellow]unknown[/]"
    return "all" if position >= last else f"{last - position:,} behind"
