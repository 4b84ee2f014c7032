"""Merging: the same rows in one order, in parts, whatever the runs look like; and given up when told to."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver import merge, parquet
from archiver.core.compaction import Run, runs_of
from archiver.core.segment import SegmentRange, row_key
from archiver.merge import Stopped, merge_runs
from archiver.parquet import read_rows, write_segment
from shared.archive_manifest import Segment
from shared.archive_rows import Row
from shared.archive_store import LocalStore
from shared.ids import StreamSeq


def row(channel: str, seq: int, stream_seq: int) -> Row:
    """An event whose text is recognised."""
    return Row(
        workspace="w" if len(channel) < 3 else "é",
        channel=channel,
        seq=seq,
        kind="message.posted",
        author="a",
        ts_us=stream_seq * 7,
        text=f"{channel} {seq}",
        ref=None,
        thread=seq % 3 or None,
        id=None,
        void=None,
        extras=None,
        stream_seq=stream_seq,
    )


def written(files: LocalStore, sizes: list[int], channels: int, seed: int) -> tuple[list[Segment], list[Row]]:
    """Flushes of a stream in which the channels speak at random; the segments, and every row in key order."""
    rng = random.Random(seed)
    seqs: dict[str, int] = defaultdict(int)
    segments: list[Segment] = []
    everything: list[Row] = []
    at = 0
    for size in sizes:
        rows = []
        for _ in range(size):
            channel = f"c{int(rng.paretovariate(0.7)) % channels}"
            seqs[channel] += 1
            at += 1
            rows.append(row(channel, seqs[channel], at))
        rows.sort(key=row_key)
        where = SegmentRange(StreamSeq(at - size + 1), StreamSeq(at), 0, 0)
        segments.append(write_segment(files, rows, where, lambda _: None))
        everything += rows
    return segments, sorted(everything, key=row_key)


def small_groups(monkeypatch: pytest.MonkeyPatch, rows: int, at_once: int) -> None:
    """Row groups of some rows, so that small runs have many."""
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", rows)
    monkeypatch.setattr(merge, "GROUPS_AT_ONCE", at_once)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=2, max_size=6),
    st.integers(1, 40),
    st.integers(1, 50),
    st.integers(1, 3),
    st.integers(0, 10_000),
)
def test_a_merged_run_holds_what_its_inputs_do(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    channels: int,
    part_rows: int,
    at_once: int,
    seed: int,
) -> None:
    """In order, every row once, in parts of that size; merged again with what follows, too."""
    files = LocalStore(tmp_path_factory.mktemp("merge"))
    files.make("data")
    with pytest.MonkeyPatch.context() as monkeypatch:
        small_groups(monkeypatch, 4, at_once)
        segments, rows = written(files, sizes, channels, seed)
        runs = runs_of(segments)
        older = merge_runs(files, runs[:-1], lambda _: None, part_rows=part_rows)
        merged = merge_runs(files, [*runs_of(older), runs[-1]], lambda _: None, part_rows=part_rows)
    found = [row for part in merged for row in read_rows(files, part)]
    assert found == rows
    assert [part.rows for part in merged[:-1]] == [part_rows] * (len(merged) - 1)
    assert {(part.lo, part.hi, part.level) for part in merged} == {(1, len(rows), 1)}
    assert [part.part for part in merged] == list(range(len(merged)))
    for part in merged:
        within = read_rows(files, part)
        assert (part.min_key, part.max_key) == (row_key(within[0]), row_key(within[-1]))
        times = [row.ts_us for row in within]
        assert (part.min_us, part.max_us) == (min(times), max(times))


def test_a_merge_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its next part; what it has written no manifest names."""
    files = LocalStore(tmp_path)
    files.make("data")
    small_groups(monkeypatch, 4, 1)
    segments, _ = written(files, [50, 50], 5, 1)
    points: list[str] = []
    with pytest.raises(Stopped):
        merge_runs(
            files,
            runs_of(segments),
            points.append,
            lambda: points.count("part-written") == 2,
            part_rows=10,
        )
    assert points.count("part-written") == 2


def test_memory_does_not_grow_with_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is put in order at once is bounded by some row groups of each run."""
    files = LocalStore(tmp_path)
    files.make("data")
    small_groups(monkeypatch, 16, 2)
    segments, _ = written(files, [1_000, 1_000, 1_000], 3, 2)
    lots = [table.num_rows for table in merge._sorted(files, runs_of(segments))]
    assert sum(lots) == 3_000
    assert max(lots) <= 3 * 2 * 16


def test_a_missing_input_is_said(tmp_path: Path) -> None:
    """An input that is gone is an error of the disk, and nothing takes its place."""
    files = LocalStore(tmp_path)
    files.make("data")
    segments, _ = written(files, [5, 5], 2, 3)
    files.remove(f"data/{segments[0].path}")
    runs: list[Run] = runs_of(segments)
    with pytest.raises(FileNotFoundError):
        merge_runs(files, runs, lambda _: None)
