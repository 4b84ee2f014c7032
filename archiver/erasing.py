"""Takes texts out of segments: the same rows in a new file, without the texts that are to be erased."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from archiver.core.segment import SegmentRange, rows_of, table_of
from archiver.parquet import open_segment, write_table
from shared.archive_manifest import RowKey, Segment
from shared.archive_rows import Row, recorded_of, row_of
from shared.archive_store import Reached, Store
from shared.erasure import SAID, Erasure, emptied
from shared.ids import ChannelKey, CommandId, UserId

Name = tuple[ChannelKey, UserId, CommandId]
"""By which a command is known."""


class Emptied(NamedTuple):
    """A segment that takes another one's place, and whose events have lost their text in it."""

    segment: Segment
    names: list[Name]


def may_hold(segment: Segment, erasure: Erasure) -> bool:
    """Whether something that an erasure names can be in a segment, by what the manifest says of it."""
    lowest, highest = RowKey(*erasure.key, 1), RowKey(*erasure.key, erasure.before - 1)
    return segment.lo < erasure.stream_seq and segment.min_key <= highest and segment.max_key >= lowest


def emptied_segment(
    partition: Store, segment: Segment, erasures: Sequence[Erasure], reached: Reached
) -> Emptied | None:
    """Write a segment again without the texts that are erased; None if it holds none. Raises OSError."""
    table = open_segment(partition, segment).read()
    named = pa.nulls(0, pa.bool_())
    for erasure in erasures:
        mask = _named(table, erasure)
        named = mask if len(named) == 0 else pc.or_(named, mask)
    rows = [row for row in rows_of(table.filter(named)) if _has_text(row)]
    if not rows:
        return None
    left = [row_of(*emptied(recorded_of(row))) for row in rows_of(table.filter(named))]
    whole = pa.concat_tables([table.filter(pc.invert(named)).cast(table_of([]).schema), table_of(left)])
    ordered = whole.sort_by([(name, "ascending") for name in RowKey._fields])
    where = SegmentRange(segment.lo, segment.hi, segment.level, segment.part)
    written = write_table(partition, ordered, where, reached)
    reached("segment-emptied")
    return Emptied(written, [_name(row) for row in rows])


def _named(table: pa.Table, erasure: Erasure) -> pa.ChunkedArray:
    """Row by row what `Erasure.names` says."""
    named = pc.and_(
        pc.and_(
            pc.equal(table["workspace"], erasure.key.workspace),
            pc.equal(table["channel"], erasure.key.channel),
        ),
        pc.less(table["seq"], erasure.before),
    )
    if erasure.ref is not None:
        edit = pc.and_(
            pc.equal(table["kind"], "message.edited"),
            pc.fill_null(pc.equal(table["ref"], erasure.ref), False),
        )
        return pc.and_(named, pc.or_(pc.equal(table["seq"], erasure.ref), edit))
    said = pc.is_in(table["kind"], pa.array(sorted(SAID)))
    return pc.and_(named, pc.and_(said, pc.equal(table["author"], erasure.user)))


def _has_text(row: Row) -> bool:
    recorded = recorded_of(row)
    return emptied(recorded)[0] != recorded or row.kind == "unreadable"


def _name(row: Row) -> Name:
    recorded = recorded_of(row)
    return recorded.key, recorded.event.author, recorded.event.id
