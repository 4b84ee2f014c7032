"""`parley status`: what runs, what the logs hold, how far the services are behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from infra.cli.options import DATA_DEFAULT, DataOption, data_directory
from infra.cli.stream_report import PartitionReport, partition_reports
from infra.local.data_directory import DataDirectory
from infra.local.probe import Readiness, readiness
from infra.local.run_file import Run
from infra.nats.stream_info import Replica
from shared.bus import Bus
from shared.errors import Unavailable


def status(
    *,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), help="One JSON object, for programs.")
    ] = False,
    data: DataOption = DATA_DEFAULT,
) -> None:
    """Show processes, logs with leaders and replicas, and positions; fails if anything is not ready."""
    directory = data_directory(data)
    run = directory.run()
    answers = asyncio.run(_probe(run))
    reports = asyncio.run(_partitions(directory, run))
    if as_json:
        print(json.dumps(_document(run, answers, reports)))
    else:
        _show(run, answers, reports)
    waiting = [
        process.name for process, answer in zip(run.processes, answers, strict=True) if not answer.ready
    ]
    if waiting:
        raise Unavailable(f"not ready: {', '.join(waiting)}; see {directory.logs}/")


def _show(run: Run, answers: Sequence[Readiness], reports: Sequence[PartitionReport]) -> None:
    console = Console(highlight=False)
    console.print(
        f"{run.state}, page {run.page}/, supervisor {run.supervisor}, NATS {run.nats_url}", soft_wrap=True
    )
    console.print(_process_table(run, answers))
    console.print(_partition_table(reports))
    console.print(_replica_table(reports))


def _document(
    run: Run, answers: Sequence[Readiness], reports: Sequence[PartitionReport]
) -> dict[str, object]:
    """What the tables show; positions are None where nobody answers."""
    return {
        "state": run.state,
        "supervisor": run.supervisor,
        "page": run.page,
        "nats_url": run.nats_url,
        "processes": [
            process.model_dump(include={"name", "kind", "pid", "url", "restarts", "partitions"})
            | {"ready": answer.ready, "detail": answer.detail}
            for process, answer in zip(run.processes, answers, strict=True)
        ],
        "partitions": [
            asdict(report) | {"replicas": [_described(replica) for replica in report.replicas]}
            for report in reports
        ],
    }


async def _probe(run: Run) -> list[Readiness]:
    return await asyncio.gather(*(readiness(process.url, process.ready_path) for process in run.processes))


async def _partitions(directory: DataDirectory, run: Run) -> list[PartitionReport]:
    async with Bus.connect(directory.operator_settings(), "parley status") as bus:
        return await partition_reports(bus, run.partitions)


def _process_table(run: Run, answers: Sequence[Readiness]) -> Table:
    table = Table("process", "partitions", "pid", "restarts", "address", "ready", box=None, pad_edge=False)
    for process, answer in zip(run.processes, answers, strict=True):
        ready = "[green]yes[/]" if answer.ready else f"[red]no[/]: {answer.detail}"
        pid, restarts = str(process.pid or "-"), str(process.restarts)
        table.add_row(process.name, process.partitions or "all", pid, restarts, process.url, ready)
    return table


def _partition_table(reports: Sequence[PartitionReport]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in (
        "log",
        "channels",
        "events",
        "first",
        "last",
        "consumers",
        "numbered",
        "archived",
        "applied",
        "searchable",
    ):
        table.add_column(column, justify="left" if column == "log" else "right")
    for report in reports:
        table.add_row(
            report.stream,
            *(f"{number:,}" for number in (report.channels, report.events, report.first, report.last)),
            f"{report.consumers}",
            _behind(report.last, report.numbered),
            _behind(report.last, report.archived),
            _behind(report.last, report.applied),
            _behind(report.last, report.searchable),
        )
    return table


def _replica_table(reports: Sequence[PartitionReport]) -> Table:
    table = Table("log", "leader", "replicas", box=None, pad_edge=False)
    for report in reports:
        leader = report.leader or "[red]none[/]"
        table.add_row(report.stream, leader, ", ".join(map(_replica, report.replicas)) or "none")
    return table


def _described(replica: Replica) -> dict[str, object]:
    return {
        "name": replica.name,
        "current": replica.ready,
        "offline": replica.offline,
        "lag": replica.lag,
        "silent_ms": replica.silent_ns // 1_000_000,
    }


def _replica(replica: Replica) -> str:
    if replica.offline:
        return f"{replica.name} [red]offline[/]"
    state = "current" if replica.ready else "[yellow]not current[/]"
    return f"{replica.name} {state}" + (f", {replica.lag:,} behind" if replica.lag else "")


def _behind(last: int, position: int | None) -> str:
    if position is None:
        return "[yellow]unknown[/]"
    return "all" if position >= last else f"{last - position:,} behind"
