"""Takes erased texts out of the archives of epochs that are over.

There an event may have another number, or none in the present log. So a message is known by its author and
id, wherever it stands, and of a user who is erased everything goes but what the present log knows as said
since. What has expired in a channel is what was said before the same moment. Nobody else writes there: what
was replaced is removed at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from archiver.core.manifest import emptied as emptied_manifest
from archiver.core.segment import data_name
from archiver.erasing import Name, candidates, channel_rows, has_text, key_of, name_of, rewritten
from archiver.parquet import open_segment
from shared.archive_files import newest_manifest
from shared.archive_manifest import Manifest, Segment, manifest_name
from shared.archive_rows import Row, recorded_of
from shared.archive_store import Reached, Store
from shared.erasure import SAID, Erasures
from shared.ids import ChannelKey

_Place = tuple[ChannelKey, int | None]


@dataclass(slots=True)
class _Named:
    """What is erased, and what users who are erased have said since."""

    names: set[Name] = field(default_factory=set)
    kept: set[Name] = field(default_factory=set)


def empty_set_aside(
    aside: Sequence[Store],
    files: Store,
    manifest: Manifest,
    erasures: Erasures,
    writer: str,
    now_us: int,
    reached: Reached,
) -> int:
    """Do it in these parts of archives; `manifest` is the present one. How many files were written anew.

    May be repeated. Raises OSError (try again).
    """
    if not aside:
        return 0
    named = _named(files, manifest, erasures)
    return sum(_empty(part, named, erasures, writer, now_us, reached) for part in aside)


def _named(files: Store, manifest: Manifest, erasures: Erasures) -> _Named:
    named = _Named()
    for segment in manifest.segments:
        for row in candidates(open_segment(files, segment).read(), erasures):
            key = key_of(row)
            if erasures.name(key, row.seq, row.kind, row.author, row.ref):
                named.names.add(name_of(row))
            elif row.kind in SAID and row.author in erasures.named(key)[1]:
                named.kept.add(name_of(row))
    return named


def _empty(part: Store, named: _Named, erasures: Erasures, writer: str, now_us: int, reached: Reached) -> int:
    manifest = newest_manifest(part)
    if manifest is None:
        return 0
    keys = {erasure.key for erasure in erasures}
    messages: set[_Place] = set()
    for segment in manifest.segments:
        rows = _rows(open_segment(part, segment).read(), keys)
        messages |= {
            (key_of(row), row.seq)
            for row in rows
            if name_of(row) in named.names or erasures.has_expired(recorded_of(row))
        }
    replaced: dict[Segment, Segment] = {}
    for segment in manifest.segments:
        table = open_segment(part, segment).read()
        rows = [row for row in _rows(table, keys) if _is_named(row, named, messages, erasures)]
        rows = [row for row in rows if has_text(row)]
        if rows:
            replaced[segment] = rewritten(part, segment, table, rows, reached)
    if replaced:
        following = emptied_manifest(manifest, replaced, manifest.erased, writer, now_us)
        following = following.model_copy(update={"retired": ()})
        content = following.model_dump_json().encode()
        part.create(f"manifest/{manifest_name(following.version)}", content, reached)
        manifest = following
    live = {segment.path for segment in manifest.segments}
    for name in part.names("data"):  # also what a try before this one has left
        if name not in live:
            part.remove(data_name(name))
    return len(replaced)


def _rows(table: pa.Table, keys: set[ChannelKey]) -> list[Row]:
    return [row for key in keys for row in channel_rows(table, key)]


def _is_named(row: Row, named: _Named, messages: set[_Place], erasures: Erasures) -> bool:
    if name_of(row) in named.names or (row.kind == "message.edited" and (key_of(row), row.ref) in messages):
        return True
    if erasures.has_expired(recorded_of(row)):
        return True
    is_forgotten = row.kind in SAID and row.author in erasures.named(key_of(row))[1]
    return is_forgotten and name_of(row) not in named.kept
