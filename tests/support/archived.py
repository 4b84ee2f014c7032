"""Archives without an archiver, for those who read them: events in, segments and a manifest out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from archiver.core.segment import SegmentRange, row_key
from archiver.parquet import write_empty_segment, write_segment
from shared import events as e
from shared.archive_manifest import Manifest, manifest_name, partition_dir
from shared.archive_rows import Row, row_of
from shared.archive_store import Store, open_store
from shared.channel import ChannelState, fold
from shared.events import Recorded
from shared.ids import ChannelKey, Epoch, Partition, Seq, StreamSeq, channel_id, workspace_id

WORKSPACE = workspace_id("acme")
START_US = 1_790_000_000_000_000


def recorded(channel: str, events: Iterable[e.KnownEvent | bytes], at_us: int = START_US) -> list[Row]:
    """The rows of one channel's log; every event has the same time. Bytes are stored as they are."""
    rows: list[Row] = []
    state: ChannelState | None = None
    for number, stored in enumerate(events, 1):
        body = stored if isinstance(stored, bytes) else e.encode(stored)
        event = e.decode(body)
        state, void = fold(state, event)
        key = ChannelKey(WORKSPACE, channel_id(channel))
        where = Recorded(key, Seq(number), StreamSeq(number), at_us, event, void)
        rows.append(row_of(where, body))
    return rows


def archive_of(folder: Path | Store, *segments: Iterable[Row]) -> str:
    """An archive of one partition that holds these rows, in as many segments; its location."""
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)
    store = open_store(folder)
    write_empty_segment(store)
    partition = store.within(partition_dir(0))
    partition.make("data", "manifest")
    described = []
    for number, rows in enumerate(segments, 1):
        where = SegmentRange(StreamSeq(number), StreamSeq(number), 0, 0)
        described.append(write_segment(partition, sorted(rows, key=row_key), where, lambda _: None))
    manifest = Manifest(
        partition=Partition(0),
        epoch=Epoch("e1"),
        version=1,
        writer="test",
        written_us=START_US,
        hi=StreamSeq(len(segments)),
        segments=tuple(described),
    )
    partition.create(f"manifest/{manifest_name(1)}", manifest.model_dump_json().encode(), lambda _: None)
    return store.location
