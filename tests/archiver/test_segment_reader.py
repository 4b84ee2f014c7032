"""Reading events out of segments: exactly those asked for, whatever the files look like; each footer once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver import parquet, segment_reader
from archiver.core.segment import SegmentRange
from archiver.kept_groups import KeptGroups
from archiver.parquet import write_segment
from archiver.segment_reader import Known, SegmentReader, Stretch
from shared.archive_manifest import Segment
from shared.archive_store import LocalStore
from shared.ids import ChannelId, ChannelKey, Seq, StreamSeq, WorkspaceId
from tests.support.segments import LONG, manifest_of, row, written


class Far(LocalStore):
    """A directory whose files are looked at as those of a bucket are; it counts."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.pieces: list[tuple[str, int, int]] = []

    @property
    def is_far(self) -> bool:
        return True

    def within(self, folder: str) -> Far:
        return Far(self.directory / folder)

    def piece(self, name: str, offset: int, length: int) -> bytes:
        self.pieces.append((name, offset, length))
        return super().piece(name, offset, length)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([LocalStore, Far]),
    st.lists(st.integers(1, 60), min_size=1, max_size=4),
    st.integers(1, 12),
    st.integers(1, 9),
    st.integers(0, 10_000),
    st.integers(1, 40),
    st.integers(0, 20),
)
def test_a_range_of_a_channel_is_found(
    tmp_path_factory: pytest.TempPathFactory,
    kind: type[LocalStore],
    sizes: list[int],
    channels: int,
    group_rows: int,
    seed: int,
    first_seq: int,
    more: int,
) -> None:
    """In order, each event once, from all the files that hold some of it, read or kept."""
    files = kind(tmp_path_factory.mktemp("read"))
    files.make("data")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", group_rows)
        segments, rows = written(files, sizes, channels, seed)
    reader = SegmentReader(files, Known(groups=KeptGroups(20_000)))
    reader.follow(manifest_of(segments))
    for workspace in ("one", "two", "none"):
        for channel in range(channels + 1):
            key = ChannelKey(WorkspaceId(workspace), ChannelId(f"c{channel}"))
            stretch = Stretch(segments, Seq(first_seq), Seq(first_seq + more))
            found = reader.rows(key, [stretch])
            of_channel = [it for it in rows if (it.workspace, it.channel) == key]
            assert found == sorted(
                (it for it in of_channel if first_seq <= it.seq <= first_seq + more), key=lambda it: it.seq
            )
            some = [it for it in found if it.seq % 3 == 1]
            wanted = frozenset(Seq(seq) for seq in range(1, 100, 3))
            assert reader.rows(key, [stretch], wanted) == some


def test_a_group_of_many_authors_is_read(tmp_path: Path) -> None:
    """Also if they do not fit into its dictionary, and are written out from some row on."""
    files = LocalStore(tmp_path)
    files.make("data")
    rows = [row("one", "c", seq, seq)._replace(author=f"{seq:05d}" * 100) for seq in range(1, 4_001)]
    where = SegmentRange(StreamSeq(1), StreamSeq(4_000), 0, 0)
    segment = write_segment(files, rows, where, lambda _: None)
    key = ChannelKey(WorkspaceId("one"), ChannelId("c"))
    assert SegmentReader(files, Known()).rows(key, [Stretch([segment], Seq(1), Seq(4_000))]) == rows


def test_a_file_that_is_gone_is_said(tmp_path: Path) -> None:
    """So that the newest manifest is asked for another one."""
    files = LocalStore(tmp_path)
    files.make("data")
    (segment,), _ = written(files, [5], 1, 1)
    files.remove(f"data/{segment.path}")
    with pytest.raises(FileNotFoundError):
        SegmentReader(files, Known()).rows(
            ChannelKey(WorkspaceId("one"), ChannelId("c0")), [Stretch([segment], Seq(1), Seq(9))]
        )


def test_one_of_several_files_that_is_gone_is_said(tmp_path: Path) -> None:
    """Also if its footer is known, and its group is read beside another one's."""
    files = LocalStore(tmp_path)
    files.make("data")
    segments, _ = written(files, [9, 9], 1, 1)
    known = Known(groups=KeptGroups(0))
    reader = SegmentReader(files, known)
    reader.follow(manifest_of(segments))
    key, stretches = ChannelKey(WorkspaceId("one"), ChannelId("c0")), [Stretch(segments, Seq(1), Seq(18))]
    assert reader.rows(key, stretches)
    files.remove(f"data/{segments[1].path}")
    with pytest.raises(FileNotFoundError):
        reader.rows(key, stretches)


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Far, list[Segment], SegmentReader, Known]:
    """Three segments in a bucket of one channel in turn, ten rows a group, and who reads them."""
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 10)
    files = Far(tmp_path)
    files.make("data")
    segments = []
    for lo in (1, 101, 201):
        rows = [row("one", "long", seq, seq) for seq in range(lo, lo + 100)]
        where = SegmentRange(StreamSeq(lo), StreamSeq(lo + 99), 0, 0)
        segments.append(write_segment(files, rows, where, lambda _: None))
    known = Known()
    reader = SegmentReader(files, known)
    reader.follow(manifest_of(segments))
    return files, segments, reader, known


def test_a_page_of_a_bucket_takes_two_rounds(far: tuple[Far, list[Segment], SegmentReader, Known]) -> None:
    """One piece for each footer, then one for each row group; the same page again takes none."""
    files, segments, reader, _ = far
    stretches = [Stretch(segments, Seq(95), Seq(105)), Stretch(segments, Seq(200), Seq(201))]
    found = [it.seq for it in reader.rows(LONG, stretches)]
    assert found == [*range(95, 106), 200, 201]
    ends = [(f"data/{it.path}", it.bytes) for it in segments]
    assert [(name, offset + length) for name, offset, length in files.pieces[:3]] == ends
    assert len(files.pieces) == 3 + 4
    assert [it.seq for it in reader.rows(LONG, stretches)] == found
    assert len(files.pieces) == 7


def test_a_long_footer_is_fetched_again(
    far: tuple[Far, list[Segment], SegmentReader, Known], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole, where its end says that it is longer than was thought."""
    files, segments, reader, _ = far
    monkeypatch.setattr(segment_reader, "TAIL_BYTES", 100)
    assert len(reader.rows(LONG, [Stretch(segments, Seq(1), Seq(3))])) == 3
    assert len(files.pieces) == 2 * 3 + 1


def test_what_leaves_the_manifest_leaves_memory(
    far: tuple[Far, list[Segment], SegmentReader, Known],
) -> None:
    """Footers and groups of replaced files go at once, and nobody who reads them late puts them back."""
    files, segments, reader, known = far
    reader.rows(LONG, [Stretch(segments, Seq(1), Seq(300))])
    assert len(list(known.footers)) == 3
    assert known.groups.size > 0
    reader.follow(manifest_of(segments[2:]))
    assert len(list(known.footers)) == 1
    before = known.groups.size
    assert len(reader.rows(LONG, [Stretch(segments, Seq(1), Seq(300))])) == 300
    assert len(list(known.footers)) == 1
    assert known.groups.size == before
    assert known.groups.get(f"{files.location}/{segments[0].path}", 0) is None
    reader.follow(manifest_of([]))
    assert known.groups.size == 0
