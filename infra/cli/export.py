"""`parley export`: channels, a user's part, or a whole workspace, from the archive into one file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from infra.cli.options import DATA_DEFAULT, WORKSPACE_DEFAULT, DataOption, WorkspaceOption, data_directory
from infra.cli.progress import steps
from infra.export.run import Exported, Format
from infra.export.run import export as run_export
from infra.export.selection import Selection
from shared.errors import BadRequest
from shared.ids import channel_id, user_id, workspace_id


def export(
    channels: Annotated[list[str] | None, Parameter(help="Ids of channels.")] = None,
    /,
    *,
    to: Annotated[Path, Parameter(help="The file to write.")],
    format: Annotated[  # noqa: A002
        Format,
        Parameter(
            help="`jsonl`: events as clients see them, one a line. `parquet`: the archive's columns."
            " `slack`: a zip that `parley import slack` reads."
        ),
    ] = "jsonl",
    user: Annotated[
        str | None, Parameter(help="Everything by this user, and what is stored about him, in all channels.")
    ] = None,
    everything: Annotated[
        bool, Parameter(name="--all", negative=(), help="Every channel of the workspace.")
    ] = False,
    force: Annotated[bool, Parameter(negative=(), help="Replace the file if it exists.")] = False,
    wait: Annotated[float, Parameter(help="Seconds that the archiver has to catch up.")] = 60.0,
    workspace: WorkspaceOption = WORKSPACE_DEFAULT,
    data: DataOption = DATA_DEFAULT,
) -> None:
    """Write CHANNELS to a file: all that was acknowledged before, by number, voids and deletions included.

    It is the operator's command: private and direct channels are exported like public ones.
    """
    if sum((bool(channels), user is not None, everything)) != 1:
        raise BadRequest("name channels, or --user, or --all: one of them")
    selection = Selection(
        workspace_id(workspace),
        tuple(map(channel_id, dict.fromkeys(channels))) if channels else None,
        None if user is None else user_id(user),
    )
    console = Console(stderr=True)
    exported = asyncio.run(_export(console, data, selection, format, to, force=force, wait_s=wait))
    what = f"{exported.records:,} records of " if format == "slack" else ""
    console.print(
        f"{what}{exported.events:,} events of {exported.channels:,} channels in {to}", highlight=False
    )


async def _export(
    console: Console, data: Path, selection: Selection, form: Format, to: Path, *, force: bool, wait_s: float
) -> Exported:
    directory = data_directory(data)
    with steps(console) as progress:
        task = progress.add_task("connecting", total=None)

        def show_progress(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total or None)

        return await run_export(
            directory.operator_settings(),
            directory.archive,
            selection,
            form,
            to,
            force=force,
            wait_s=wait_s,
            progress=show_progress,
        )
