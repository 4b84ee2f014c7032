"""One export from beginning to end: wait, pin, count, write, compare, and only then give it its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from infra.export.heads import settled_heads
from infra.export.lines import write_lines
from infra.export.selection import Selection
from infra.export.slack_zip import write_zip
from infra.export.source import ExportIncomplete, check, opened
from infra.export.table import write_table
from infra.export.target import whole_file
from shared.archive_store import Archive
from shared.bus import Bus
from shared.errors import BadRequest
from shared.ids import ChannelId, Seq
from shared.settings import CommonSettings

Format = Literal["jsonl", "parquet", "slack"]
Progress = Callable[[str, int, int], None]
"""Told what is being done, how far it is, and how far it will be (0: unknown)."""

_WRITERS = {"jsonl": write_lines, "parquet": write_table, "slack": write_zip}


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    channels: int
    events: int
    """Every event of the selection, each once."""
    records: int
    """What the file holds: the events, or those that Slack has a record for."""


async def export(
    settings: CommonSettings,
    archive: Archive,
    selection: Selection,
    form: Format,
    path: Path,
    *,
    force: bool,
    wait_s: float,
    progress: Progress,
) -> Exported:
    """Write a selection to `path`.

    Raises `ExportIncomplete` if the archive lacks anything that the log held at the start, `NotFound`,
    `BadRequest`, `Conflict` (the file exists), `Unavailable`; nothing is left at `path` then.
    """
    if form == "slack" and not selection.is_whole:
        raise BadRequest("a Slack export holds whole channels: use jsonl or parquet for a user")
    with whole_file(path, force=force) as temporary:
        async with Bus.connect(settings, "export") as bus:
            heads = await settled_heads(
                bus,
                archive,
                settings.partitions,
                selection,
                wait_s=wait_s,
                note=lambda what: progress(what, 0, 0),
            )
        return write(archive, selection, form, temporary, heads, progress)


def write(
    archive: Archive,
    selection: Selection,
    form: Format,
    path: Path,
    heads: dict[ChannelId, Seq],
    progress: Progress,
) -> Exported:
    """Write what the archive holds now, which is everything up to `heads` and maybe more."""
    with opened(archive, selection, path.parent) as source:
        progress("counting", 0, 0)
        counts = source.counts()
        check(selection, counts, heads)
        events = sum(counts.values())
        records = _WRITERS[form](source, path, lambda done: progress("writing", done, events))
        if form != "slack" and records != events:
            raise ExportIncomplete(f"{records} of {events} events were written: see parley verify")
        progress("written", events, events)
    return Exported(len(counts), events, records)
