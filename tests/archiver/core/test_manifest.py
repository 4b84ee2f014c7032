"""Manifests only ever grow by the next events, each once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.manifest import (
    BrokenManifest,
    check,
    claimed,
    covering,
    expired_versions,
    extended,
    first,
    ranges,
)
from shared.archive_manifest import Manifest, RowKey, Segment
from shared.ids import ChannelId, ChannelKey, Epoch, Partition, Seq, StreamSeq, WorkspaceId

EMPTY = first(Partition(0), Epoch("e"), "w", 1)


def segment(lo: int, hi: int, rows: int | None = None, part: int = 0, **keys: RowKey) -> Segment:
    """A segment of these stream sequences."""
    return Segment(
        path=f"{lo}-{hi}-{part}",
        lo=StreamSeq(lo),
        hi=StreamSeq(hi),
        level=0,
        part=part,
        rows=hi - lo + 1 if rows is None else rows,
        bytes=1,
        min_key=keys.get("min_key", RowKey("a", "a", 1)),
        max_key=keys.get("max_key", RowKey("z", "z", 9)),
        min_us=1,
        max_us=2,
        sha256="",
    )


@given(st.lists(st.integers(1, 50), max_size=12))
def test_growing_keeps_a_manifest_whole(sizes: list[int]) -> None:
    """However segments are added, the result tiles 1..hi and each version follows the last."""
    manifest = EMPTY
    for size in sizes:
        grown = extended(manifest, segment(manifest.hi + 1, manifest.hi + size), 1, "w", 2)
        check(grown)
        assert grown.version == manifest.version + 1
        manifest = grown
    assert manifest.hi == sum(sizes)


@pytest.mark.parametrize(
    "wrong", [segment(2, 5), segment(11, 11), segment(12, 14), segment(1, 3), segment(11, 13, rows=2)]
)
def test_no_hole_and_no_overlap_can_be_added(wrong: Segment) -> None:
    """A segment that does not continue the archive exactly, or lacks rows, is refused."""
    manifest = extended(EMPTY, segment(1, 10), 1, "w", 2)
    if wrong.lo == 11 and wrong.rows == 1:
        check(extended(manifest, wrong, 1, "w", 3))
        return
    with pytest.raises(BrokenManifest):
        extended(manifest, wrong, 1, "w", 3)


@pytest.mark.parametrize(
    ("hi", "segments"),
    [
        (5, [segment(1, 4)]),
        (4, [segment(1, 5)]),
        (5, [segment(2, 5)]),
        (9, [segment(1, 4), segment(6, 9)]),
        (9, [segment(1, 5), segment(5, 9)]),
        (5, [segment(1, 5, rows=4)]),
        (5, [segment(1, 5), segment(1, 5, part=1)]),
        (1, []),
    ],
)
def test_broken_manifests_are_seen(hi: int, segments: list[Segment]) -> None:
    """Holes, overlaps and wrong counts are found when a manifest is read."""
    with pytest.raises(BrokenManifest):
        check(EMPTY.model_copy(update={"hi": hi, "segments": tuple(segments)}))


def test_parts_of_a_range_add_up() -> None:
    """Above level 0 a range is cut by key: its parts together are the range."""
    parts = (segment(1, 10, rows=4), segment(1, 10, rows=6, part=1), segment(11, 12))
    manifest = EMPTY.model_copy(update={"hi": 12, "segments": parts})
    check(manifest)
    assert [span for span, _ in ranges(manifest.segments)] == [(1, 10), (11, 12)]


def test_claiming_changes_the_version_only() -> None:
    """A takeover holds the same events one version on, under the new writer's name."""
    manifest = extended(EMPTY, segment(1, 10), 1, "w", 2)
    taken = claimed(manifest, "other", 3)
    assert (taken.version, taken.writer, taken.segments) == (3, "other", manifest.segments)


def test_covering_prunes_by_range_and_key() -> None:
    """Only segments whose stream range and key range can hold the asked events are read."""
    key = ChannelKey(WorkspaceId("w"), ChannelId("m"))
    segments = [
        segment(1, 10, min_key=RowKey("w", "a", 1), max_key=RowKey("w", "m", 4)),
        segment(11, 20, min_key=RowKey("w", "m", 5), max_key=RowKey("w", "m", 14)),
        segment(21, 30, min_key=RowKey("w", "n", 1), max_key=RowKey("w", "z", 14)),
        segment(31, 40, min_key=RowKey("w", "m", 15), max_key=RowKey("w", "z", 14)),
    ]
    manifest: Manifest = EMPTY.model_copy(update={"hi": 40, "segments": tuple(segments)})

    def found(first: int, last: int, lo: int, hi: int) -> list[int]:
        hits = covering(manifest, key, (Seq(first), Seq(last)), (StreamSeq(lo), StreamSeq(hi)))
        return [hit.lo for hit in hits]

    assert found(1, 20, 1, 40) == [1, 11, 31]
    assert found(5, 14, 1, 40) == [11]
    assert found(4, 5, 1, 40) == [1, 11]
    assert found(1, 20, 12, 13) == [11]
    assert found(99, 99, 1, 40) == [31]


def test_old_versions_expire() -> None:
    """The newest versions stay, in whatever order they are listed."""
    assert expired_versions([3, 1, 2, 5, 4], keep=2) == [1, 2, 3]
    assert expired_versions([1, 2], keep=2) == []
