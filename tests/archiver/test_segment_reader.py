"""Reading events out of segments: exactly those asked for, whatever the files look like; each footer once."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from archiver import parquet
from archiver.core.segment import SegmentRange, row_key
from archiver.parquet import write_segment
from archiver.segment_reader import Footers, SegmentReader
from shared.archive_manifest import Segment
from shared.archive_rows import Row
from shared.archive_store import LocalStore
from shared.ids import ChannelId, ChannelKey, Seq, StreamSeq, WorkspaceId


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


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=4),
    st.integers(1, 12),
    st.integers(1, 9),
    st.integers(0, 10_000),
    st.integers(1, 40),
    st.integers(0, 20),
)
def test_a_range_of_a_channel_is_found(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    channels: int,
    group_rows: int,
    seed: int,
    first: int,
    more: int,
) -> None:
    """In order, each event once, from all the files that hold some of it."""
    files = LocalStore(tmp_path_factory.mktemp("read"))
    files.make("data")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", (group_rows,))
        segments, rows = written(files, sizes, channels, seed)
    reader = SegmentReader(files, Footers())
    for workspace in ("one", "two", "none"):
        for channel in range(channels + 1):
            key = ChannelKey(WorkspaceId(workspace), ChannelId(f"c{channel}"))
            found = reader.rows(segments, key, Seq(first), Seq(first + more))
            assert found == sorted(
                (it for it in rows if (it.workspace, it.channel) == key and first <= it.seq <= first + more),
                key=lambda it: it.seq,
            )
            some = [it for it in found if it.seq % 3 == 1]
            wanted = frozenset(Seq(seq) for seq in range(1, 100, 3))
            assert reader.rows(segments, key, Seq(first), Seq(first + more), wanted) == some


def test_only_the_groups_that_can_hold_it_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long channel those with its seqs; of a file without the channel none."""
    files = LocalStore(tmp_path)
    files.make("data")
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", (10,))
    rows = [row("one", "long", seq, seq) for seq in range(1, 101)]
    segment = write_segment(files, rows, SegmentRange(StreamSeq(1), StreamSeq(100), 0, 0), lambda _: None)
    footer = Footers().of(segment.path, files.reader(f"data/{segment.path}", segment.bytes))
    long, other = (ChannelKey(WorkspaceId("one"), ChannelId(name)) for name in ("long", "other"))

    def groups(key: ChannelKey, first: int, last: int) -> list[int]:
        return [n for n, group in enumerate(footer.groups) if group.may_hold(key, Seq(first), Seq(last))]

    assert groups(long, 15, 25) == [1, 2]
    assert groups(long, 101, 200) == []
    assert groups(other, 1, 100) == []


def test_footers_are_kept_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second page reads no footer; of very many row groups some are forgotten, file by file."""
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", (2,))
    files = LocalStore(tmp_path)
    files.make("data")
    segments, rows = written(files, [5, 5, 5], 1, 1)
    footers = Footers(groups_max=6)
    reader = SegmentReader(files, footers)
    key = ChannelKey(WorkspaceId("one"), ChannelId("c0"))
    wanted = sorted((it for it in rows if it.workspace == "one"), key=lambda it: it.seq)
    for _ in range(2):
        assert reader.rows(segments, key, Seq(1), Seq(100)) == wanted
        assert [name.rpartition("/")[2] for name in footers] == [it.path for it in segments[1:]]
    read = REGISTRY.get_sample_value("parley_archive_footers_read_total")
    assert reader.rows(segments[1:], key, Seq(1), Seq(100))
    assert REGISTRY.get_sample_value("parley_archive_footers_read_total") == read


def test_a_file_that_is_gone_is_said(tmp_path: Path) -> None:
    """So that the newest manifest is asked for another one."""
    files = LocalStore(tmp_path)
    files.make("data")
    (segment,), _ = written(files, [5], 1, 1)
    files.remove(f"data/{segment.path}")
    with pytest.raises(FileNotFoundError):
        SegmentReader(files, Footers()).rows(
            [segment], ChannelKey(WorkspaceId("one"), ChannelId("c0")), Seq(1), Seq(9)
        )
