"""One JSON object a line: every event as clients see it, voids and deletions too (AT-53)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson

from infra.export.source import Source
from shared.archive_rows import Row, recorded_of
from shared.clock import rfc3339
from shared.wire_form import wire


def write_lines(source: Source, path: Path, progress: Callable[[int], None]) -> int:
    """Write the selected events to `path`; returns how many. `progress` is told of each that is written."""
    written = 0
    with path.open("wb") as file:
        for rows in source.rows():
            file.write(b"".join([line_of(row) + b"\n" for row in rows]))
            written += len(rows)
            progress(written)
    return written


def line_of(row: Row) -> bytes:
    """The same bytes as `wire(recorded_of(row))`, from the columns wherever they say everything.

    What is an event's own stands before what all events have.
    """
    extras = orjson.loads(row.extras) if row.extras else {}
    if row.void is not None or not extras.keys().isdisjoint(_WHOLE):
        return wire(recorded_of(row))
    fields: dict[str, object] = {"kind": row.kind}
    if row.ref is not None:
        fields["ref"] = row.ref
    if row.text is not None:
        fields["text"] = row.text
    if row.thread is not None:
        fields["thread"] = row.thread
    extras.pop("ref_author", None)
    imported = {"imported": extras.pop("imported")} if "imported" in extras else {}
    whole = fields | extras | {"id": row.id, "author": row.author} | imported
    at = f'{{"type":"event","channel":"{row.channel}","seq":{row.seq},"ts":"{rfc3339(row.ts_us)}",'
    return at.encode() + orjson.dumps(whole)[1:]


_WHOLE = frozenset({"body", "body64"})
"""Where `extras` holds an event that the columns cannot give back."""
