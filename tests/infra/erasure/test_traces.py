"""Texts are found in the bytes of files, however they are written there."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archiver.search.index import SearchIndex
from infra.erasure import traces
from infra.erasure.traces import Index, Needles, indexes_below, traces_below
from shared.ids import Partition, StreamSeq
from tests.support.search import EPOCH, Log, record

TEXT = 'a "quoted" ☕ line\nand more'


@pytest.mark.parametrize("chunk", [16, 1000])
def test_each_way_of_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Plain, in JSON of both kinds, across the pieces that are read, compressed; and not what is alike."""
    monkeypatch.setattr(traces, "CHUNK_BYTES", chunk)
    (tmp_path / "below").mkdir()
    for name, content in {
        "plain": TEXT,
        "json": json.dumps({"text": TEXT}, ensure_ascii=False),
        "ascii": json.dumps({"text": TEXT}),
        "below/late": "x" * 995 + TEXT,
        "none": TEXT[:-1],
    }.items():
        (tmp_path / name).write_text(content)
    table = pa.table({"text": ["other", None, TEXT], "n": [1, 2, 3]})
    pq.write_table(table, tmp_path / "one.parquet", compression="zstd")
    (tmp_path / "half.parquet").write_bytes((tmp_path / "one.parquet").read_bytes()[:9])
    found = {
        Path(path).relative_to(tmp_path).as_posix() for path, _ in traces_below(tmp_path, Needles([TEXT]))
    }
    assert found == {"plain", "json", "ascii", "below/late", "one.parquet"}


def test_an_index_that_is_to_be_written_anew(tmp_path: Path) -> None:
    """It says so until that is done."""
    log = Log()
    ref = log.say("tea", "Xsecret")
    path = tmp_path / "cache" / "p00.search.sqlite"
    index = SearchIndex(path, EPOCH)
    record(index, log)

    def found(*, upto: int, unpurged: bool) -> bool:
        return list(indexes_below(tmp_path)) == [
            Index(str(path), Partition(0), EPOCH, StreamSeq(upto), unpurged)
        ]

    assert found(upto=2, unpurged=False)
    log.erase("tea", ref)
    record(index, log)
    assert found(upto=3, unpurged=True)
    index.purge()
    assert found(upto=3, unpurged=False)
    assert list(traces_below(tmp_path, Needles(["Xsecret"]))) == []
    index.close()
