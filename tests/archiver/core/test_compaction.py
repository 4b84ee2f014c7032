"""Runs stay few whatever the traffic is, and an event is not written again too often for it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.compaction import GROUP_MAX, RUN_ROWS_MAX, RUNS_MAX, due, level_of, runs_of
from shared.archive_manifest import RowKey, Segment
from shared.ids import StreamSeq


def segment(lo: int, hi: int, level: int = 0) -> Segment:
    """A run of one part."""
    key = RowKey("w", "c", 1)
    return Segment(
        path=f"{lo}-{hi}",
        lo=StreamSeq(lo),
        hi=StreamSeq(hi),
        level=level,
        part=0,
        rows=hi - lo + 1,
        bytes=1,
        min_key=key,
        max_key=key,
        min_us=1,
        max_us=1,
        sha256="",
    )


def flushed(sizes: list[int]) -> tuple[int, int, int]:
    """Commit flushes of these sizes, merging what is due; most runs at once, events in all and written."""
    segments: list[Segment] = []
    hi = most = written = 0
    for size in sizes:
        segments.append(segment(hi + 1, hi + size))
        hi += size
        while runs := due(segments):
            inputs = [part for run in runs for part in run.parts]
            assert [run.lo for run in runs[1:]] == [run.hi + 1 for run in runs[:-1]], "neighbours, in order"
            assert len(runs) > 1
            merged = segment(runs[0].lo, runs[-1].hi, 1)
            segments = sorted([one for one in segments if one not in inputs] + [merged], key=lambda s: s.lo)
            written += merged.rows
        most = max(most, len(segments))
    return most, hi, written


@given(st.lists(st.integers(1, 100_000), max_size=60))
def test_runs_stay_few(sizes: list[int]) -> None:
    """Whatever the sizes are."""
    assert flushed(sizes)[0] <= RUNS_MAX


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(lambda _: 1, id="equal"),
        pytest.param(lambda rng: rng.randint(1, 100), id="random"),
        pytest.param(lambda rng: rng.choice([1, 1, 1, 1, 1000]), id="bursty"),
        pytest.param(lambda rng: int(rng.paretovariate(0.8)), id="heavy tail"),
    ],
)
def test_events_are_written_again_seldom(size: Callable[[random.Random], int]) -> None:
    """On average not more than ten times, for all the traffic of a long time."""
    rng = random.Random(5)
    _, events, written = flushed([size(rng) for _ in range(5_000)])
    assert written <= 10 * events


def test_a_few_runs_are_left_alone() -> None:
    """Nothing is merged while there are not more than the bound."""
    assert due([segment(number, number) for number in range(1, RUNS_MAX + 1)]) == []
    assert due([]) == []


def test_a_run_that_is_large_enough_is_never_written_again() -> None:
    """It neither counts nor joins: merges end somewhere, and do not reach over it."""
    large = segment(101, 100 + RUN_ROWS_MAX)
    young = [segment(large.hi + number, large.hi + number) for number in range(1, RUNS_MAX + 2)]
    old = segment(1, 100)
    for segments in ([old, large, *young], [old, large, *young[:-1]]):
        chosen = due(segments)
        assert chosen
        assert all(run.lo > large.hi for run in chosen)
    assert due([old, large, *young[:-2]]) == []


def test_thousands_of_runs_are_merged_some_after_some() -> None:
    """As an archive has them that was never merged: each takes a bounded number, until there are few."""
    segments = [segment(number, number) for number in range(1, 2_001)]
    merges = 0
    while runs := due(segments):
        assert len(runs) <= GROUP_MAX
        merged = segment(runs[0].lo, runs[-1].hi, 1)
        inside = {run.parts[0] for run in runs}
        segments = sorted([one for one in segments if one not in inside] + [merged], key=lambda s: s.lo)
        merges += 1
    assert len(segments) <= RUNS_MAX
    assert merges < 100


def test_parts_of_a_range_are_one_run() -> None:
    """However many files it was cut into."""
    parts = [segment(1, 30).model_copy(update={"part": n, "path": str(n), "rows": 10}) for n in range(3)]
    (run, newer) = runs_of([segment(31, 40), *parts])
    assert (run.lo, run.hi, run.rows, len(run.parts)) == (1, 30, 30, 3)
    assert newer.rows == 10


def test_levels() -> None:
    """By size."""
    assert [level_of(rows) for rows in (1, 999_999, 1_000_000, 16_000_000, 10**9)] == [1, 1, 2, 3, 3]
