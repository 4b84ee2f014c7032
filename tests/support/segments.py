"""Segments of rows that are recognised, and a manifest that names them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from archiver.core.manifest import first
from archiver.core.segment import SegmentRange, row_key
from archiver.parquet import write_segment
from shared.archive_manifest import Manifest, Segment
from shared.archive_rows import Row
from shared.archive_store import LocalStore
from shared.ids import ChannelId, ChannelKey, Epoch, Partition, StreamSeq, WorkspaceId

LONG = ChannelKey(WorkspaceId("one"), ChannelId("long"))


def row(workspace: str, channel: str, seq: int, stream_seq: int) -> Row:
    """An event that is recognised."""
    return Row(
        workspace, channel, seq, "message.posted", "a", stream_seq, f"{channel} {seq}",
        None, None, None, None, None, stream_seq,
    )  # fmt: skip


def written(files: LocalStore, sizes: list[int], channels: int, seed: int) -> tuple[list[Segment], list[Row]]:
    """Segments of a stream in which channels of two workspaces speak at random, and all rows."""
    rng = random.Random(seed)
    seqs: dict[tuple[str, str], int] = {}
    segments, everything, at = [], [], 0
    for size in sizes:
        rows = []
        for _ in range(size):
            at += 1
            key = (rng.choice(["one", "two"]), f"c{int(rng.paretovariate(0.6)) % channels}")
            seqs[key] = seqs.get(key, 0) + 1
            rows.append(row(*key, seqs[key], at))
        rows.sort(key=row_key)
        where = SegmentRange(StreamSeq(at - size + 1), StreamSeq(at), 0, 0)
        segments.append(write_segment(files, rows, where, lambda _: None))
        everything += rows
    return segments, everything


def manifest_of(segments: Sequence[Segment]) -> Manifest:
    """One that names these."""
    return first(Partition(0), Epoch("e1"), "test", 1).model_copy(update={"segments": tuple(segments)})
