"""Takes texts out of segments: the same rows in a new file, without the texts that are to be erased."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from archiver.core.segment import SegmentRange, rows_of, table_of
from archiver.parquet import open_segment, write_table
from shared.archive_manifest import RowKey, Segment
from shared.archive_rows import Row, recorded_of, row_of
from shared.archive_store import Reached, Store
from shared.erasure import SAID, Erasure, Erasures, emptied
from shared.ids import ChannelId, ChannelKey, CommandId, UserId, WorkspaceId

Name = tuple[ChannelKey, UserId, CommandId]
"""By which a command is known."""


class Emptied(NamedTuple):
    """A segment that takes another one's place, and whose events have lost their text in it."""

    segment: Segment
    names: list[Name]
    newest_us: int
    """When the newest of them was recorded."""


def may_hold(segment: Segment, erasure: Erasure) -> bool:
    """Whether something that an erasure names can be in a segment, by what the manifest says of it."""
    first = erasure.expired.since if erasure.expired is not None else 1
    lowest, highest = RowKey(*erasure.key, first), RowKey(*erasure.key, erasure.before - 1)
    return segment.lo < erasure.stream_seq and segment.min_key <= highest and segment.max_key >= lowest


def emptied_segment(
    partition: Store, segment: Segment, erasures: Erasures, reached: Reached
) -> Emptied | None:
    """Write a segment again without the texts that are erased; None if it holds none. Raises OSError."""
    table = open_segment(partition, segment).read()
    rows = [row for row in candidates(table, erasures) if _is_named(row, erasures) and has_text(row)]
    if not rows:
        return None
    written = rewritten(partition, segment, table, rows, reached)
    reached("segment-emptied")
    return Emptied(written, [name_of(row) for row in rows], max(row.ts_us for row in rows))


def names_within(partition: Store, segment: Segment, erasures: Erasures) -> list[Name]:
    """The commands in a segment that lose their text by these erasures, or have lost it. Raises OSError."""
    table = open_segment(partition, segment).read()
    rows = (row for row in candidates(table, erasures) if row.kind in SAID)
    return [name_of(row) for row in rows if _is_named(row, erasures)]


def rewritten(
    partition: Store, segment: Segment, table: pa.Table, rows: Sequence[Row], reached: Reached
) -> Segment:
    """Write a segment, which holds `table`, again without the texts of these rows of it. Raises OSError."""
    named = pc.is_in(table["stream_seq"], pa.array([row.stream_seq for row in rows], pa.int64()))
    left = table_of([row_of(*emptied(recorded_of(row))) for row in rows])
    whole = pa.concat_tables([table.filter(pc.invert(named)).cast(left.schema), left])
    ordered = whole.sort_by([(name, "ascending") for name in RowKey._fields])
    where = SegmentRange(segment.lo, segment.hi, segment.level, segment.part)
    return write_table(partition, ordered, where, reached)


def candidates(table: pa.Table, erasures: Erasures) -> Iterator[Row]:
    """The rows of the channels that have something to do with what is named there."""
    for key in {erasure.key: None for erasure in erasures}:
        refs, users = (list(named) for named in erasures.named(key))
        of_channel = _of_channel(table, key)
        numbers = pa.array(refs, pa.int64())
        about = pc.or_(pc.is_in(of_channel["seq"], numbers), pc.is_in(of_channel["ref"], numbers))
        by = pc.is_in(of_channel["author"], pa.array(users, pa.string()))
        yield from rows_of(of_channel.filter(pc.or_(pc.or_(about, by), _expiring(of_channel, key, erasures))))


def _expiring(of_channel: pa.Table, key: ChannelKey, erasures: Erasures) -> pa.ChunkedArray | pa.Scalar:
    """Which rows of a channel expire now: none below what had expired already."""
    before, expired = erasures.expired(key) or (0, None)
    if expired is None:
        return pa.scalar(False)
    seq, ref = of_channel["seq"], of_channel["ref"]
    below = pc.or_kleene(pc.less(seq, expired.below), pc.less(ref, expired.below))
    within = pc.and_(pc.greater_equal(seq, expired.since), pc.less(seq, before))
    said = pc.is_in(of_channel["kind"], pa.array(sorted(SAID)))
    return pc.fill_null(pc.and_kleene(pc.and_(within, said), below), False)


def channel_rows(table: pa.Table, key: ChannelKey) -> list[Row]:
    """The rows of one channel."""
    return rows_of(_of_channel(table, key))


def _of_channel(table: pa.Table, key: ChannelKey) -> pa.Table:
    here = pc.and_(pc.equal(table["workspace"], key.workspace), pc.equal(table["channel"], key.channel))
    return table.filter(here)


def _is_named(row: Row, erasures: Erasures) -> bool:
    return erasures.name(key_of(row), row.seq, row.kind, row.author, row.ref)


def has_text(row: Row) -> bool:
    """Whether erasing would change the row."""
    recorded = recorded_of(row)
    return emptied(recorded)[0] != recorded or row.kind == "unreadable"


def key_of(row: Row) -> ChannelKey:
    """The channel of a row."""
    return ChannelKey(WorkspaceId(row.workspace), ChannelId(row.channel))


def name_of(row: Row) -> Name:
    """By which a row's command is known, whatever its number."""
    recorded = recorded_of(row)
    return recorded.key, recorded.event.author, recorded.event.id
