"""Footers of segments: which row groups can hold an event, looked up in few of them; kept up to a bound."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prometheus_client import REGISTRY

from archiver import parquet
from archiver.core.segment import SegmentRange
from archiver.footers import Footer, Footers
from archiver.parquet import write_segment
from archiver.segment_reader import Known, SegmentReader, Stretch
from shared.archive_store import LocalStore
from shared.ids import ChannelId, ChannelKey, Seq, StreamSeq, WorkspaceId
from tests.support.segments import manifest_of, row, written


def test_only_the_groups_that_can_hold_it_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long channel those with its seqs; of a file without the channel none."""
    files = LocalStore(tmp_path)
    files.make("data")
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 10)
    rows = [row("one", "long", seq, seq) for seq in range(1, 101)]
    segment = write_segment(files, rows, SegmentRange(StreamSeq(1), StreamSeq(100), 0, 0), lambda _: None)
    footer = Footers().read("name", pa.BufferReader(files.read(f"data/{segment.path}")), ())
    long, other = (ChannelKey(WorkspaceId("one"), ChannelId(name)) for name in ("long", "other"))

    def groups(key: ChannelKey, first: int, last: int) -> list[int]:
        return list(footer.may_hold(key, Seq(first), Seq(last)))

    assert groups(long, 15, 25) == [1, 2]
    assert groups(long, 101, 200) == []
    assert groups(other, 1, 100) == []


class Looked:
    """A file's metadata; it notes the row groups that somebody looks at."""

    def __init__(self, metadata: pq.FileMetaData) -> None:
        self._metadata = metadata
        self.num_row_groups = metadata.num_row_groups
        self.groups: set[int] = set()

    def row_group(self, number: int) -> pq.RowGroupMetaData:
        self.groups.add(number)
        return self._metadata.row_group(number)


def test_of_a_long_file_few_groups_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their statistics are read one by one: a first page does not wait for all of them."""
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 2)
    files = LocalStore(tmp_path)
    files.make("data")
    rows = [row("one", f"c{channel:03d}", seq, channel * 4 + seq) for channel in range(128) for seq in (1, 2)]
    where = SegmentRange(StreamSeq(1), StreamSeq(256), 0, 0)
    segment = write_segment(files, rows, where, lambda _: None)
    looked = Looked(pq.read_metadata(pa.BufferReader(files.read(f"data/{segment.path}"))))
    key = ChannelKey(WorkspaceId("one"), ChannelId("c077"))
    assert list(Footer(looked).may_hold(key, Seq(1), Seq(2))) == [77]
    assert 77 in looked.groups
    assert len(looked.groups) < 16


def test_footers_are_kept_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second page reads no footer; of very many row groups some are forgotten, file by file."""
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 2)
    files = LocalStore(tmp_path)
    files.make("data")
    segments, rows = written(files, [5, 5, 5], 1, 1)
    footers = Footers(groups_max=6)
    reader = SegmentReader(files, Known(footers))
    reader.follow(manifest_of(segments))
    key = ChannelKey(WorkspaceId("one"), ChannelId("c0"))
    wanted = sorted((it for it in rows if it.workspace == "one"), key=lambda it: it.seq)
    for _ in range(2):
        assert reader.rows(key, [Stretch(segments, Seq(1), Seq(100))]) == wanted
        assert len(list(footers)) == 2
    assert reader.rows(key, [Stretch(segments[1:], Seq(1), Seq(100))])
    read = footers_read("page")
    assert reader.rows(key, [Stretch(segments[1:], Seq(1), Seq(100))])
    assert footers_read("page") == read


def test_they_are_read_ahead_of_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as there is room and the file is live; one that cannot be read is left to the page."""
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 2)
    files = LocalStore(tmp_path)
    files.make("data")
    segments, _ = written(files, [5, 5, 5, 5, 5], 1, 1)
    *others, _replaced, lost = segments
    files.remove(f"data/{lost.path}")
    footers = Footers(groups_max=8)  # two files of three and a part of another
    known = Known(footers)
    reader = SegmentReader(files, known)
    assert reader.follow(manifest_of(segments)) == segments
    assert reader.follow(manifest_of([*others, lost])) == []
    reader.read_ahead(segments)
    known.ahead.submit(lambda: None).result()
    assert [label.rpartition("/")[2] for label in footers] == [others[2].path, others[1].path]
    key, read = ChannelKey(WorkspaceId("one"), ChannelId("c0")), footers_read("page")
    assert reader.rows(key, [Stretch(others[1:], Seq(1), Seq(100))])
    assert footers_read("page") == read
    with pytest.raises(FileNotFoundError):
        reader.rows(key, [Stretch([lost], Seq(1), Seq(100))])
    known.close()


def footers_read(why: str) -> float:
    """How many this process has read so far."""
    return REGISTRY.get_sample_value("parley_archive_footers_read_total", {"why": why}) or 0
