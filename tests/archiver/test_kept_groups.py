"""Row groups in memory: those that are asked for again stay longest, and all of them have a bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from archiver import parquet
from archiver.core.segment import SegmentRange
from archiver.kept_groups import KeptGroups
from archiver.parquet import write_segment
from archiver.segment_reader import Known, SegmentReader, Stretch
from shared.archive_store import LocalStore
from shared.ids import Seq, StreamSeq
from tests.support.segments import LONG, manifest_of, row


def test_groups_are_kept_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those longest not asked for go; with no room at all pages are the same."""
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 10)
    files = LocalStore(tmp_path)
    files.make("data")
    rows = [row("one", "long", seq, seq) for seq in range(1, 101)]
    segment = write_segment(files, rows, SegmentRange(StreamSeq(1), StreamSeq(100), 0, 0), lambda _: None)
    for room in (0, 3_000):
        groups = KeptGroups(room)
        reader = SegmentReader(files, Known(groups=groups))
        reader.follow(manifest_of([segment]))
        for at in range(1, 92, 10):
            assert len(reader.rows(LONG, [Stretch([segment], Seq(at), Seq(at + 9))])) == 10
            assert groups.size <= room
        label = f"{files.location}/{segment.path}"
        assert (groups.get(label, 9) is not None) == bool(room)
        assert groups.get(label, 0) is None


def test_groups_that_are_asked_for_again_outlive_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are needed once after them; those of them longest not asked for go before the others."""
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 10)
    files = LocalStore(tmp_path)
    files.make("data")
    rows = [row("one", "long", seq, seq) for seq in range(1, 401)]
    segment = write_segment(files, rows, SegmentRange(StreamSeq(1), StreamSeq(400), 0, 0), lambda _: None)
    groups = KeptGroups(10_000)
    reader = SegmentReader(files, Known(groups=groups))
    reader.follow(manifest_of([segment]))
    for at in (1, 11, 1, 11, *range(21, 392, 10)):
        assert len(reader.rows(LONG, [Stretch([segment], Seq(at), Seq(at + 9))])) == 10
        assert groups.size <= 10_000
    kept = {number for number in range(40) if groups.get(f"{files.location}/{segment.path}", number)}
    assert kept >= {0, 1, 39}
    assert len(kept) < 20
    for number in kept:
        groups.get(f"{files.location}/{segment.path}", number)
        assert groups.size <= 10_000
