"""A Parquet export holds the archive's rows, without `stream_seq`; the same events are the same bytes."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from infra.export import table
from infra.export.selection import Selection
from infra.export.source import SCHEMA, opened
from infra.export.table import write_table
from shared import events as e
from shared.ids import UserId
from tests.support.archived import WORKSPACE, archive_of, recorded
from tests.support.events import KINDS, example

KEPT = [kind for kind in KINDS if not kind.kind.endswith("erased")]
EVENTS = [*(example(kind) for kind in KEPT), *[example(e.MessagePosted)] * 5_000, b"no event"]


def written(archive: str, path: Path) -> bytes:
    with opened(archive, Selection(WORKSPACE), path.parent) as source:
        assert write_table(source, path, lambda _: None) == len(EVENTS)
    return path.read_bytes()


def test_columns_and_rows(tmp_path: Path) -> None:
    """By number, voids with their reason, all that an event says."""
    rows = recorded("tea", EVENTS)
    written(archive_of(tmp_path / "a", rows), tmp_path / "x.parquet")
    found = pq.read_table(tmp_path / "x.parquet")
    assert found.schema.equals(SCHEMA)
    assert "stream_seq" not in found.column_names
    for name in ("channel", "seq", "kind", "author", "text", "ref", "thread", "id", "void", "extras"):
        assert found[name].to_pylist() == [getattr(row, name) for row in rows], name


def test_an_empty_selection(tmp_path: Path) -> None:
    """A user of whom nothing is stored: a table without rows."""
    archive = archive_of(tmp_path / "a", recorded("tea", EVENTS))
    with opened(archive, Selection(WORKSPACE, user=UserId("nobody")), tmp_path) as source:
        assert write_table(source, tmp_path / "x.parquet", lambda _: None) == 0
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 0


@pytest.mark.parametrize("group_rows", [100, 4_096, 65_536])
def test_bytes_do_not_depend_on_the_archives_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group_rows: int
) -> None:
    """Cut otherwise, compacted or not: row groups have one size."""
    monkeypatch.setattr(table, "GROUP_ROWS", group_rows)
    rows = recorded("tea", EVENTS)
    one = written(archive_of(tmp_path / "a", rows), tmp_path / "x.parquet")
    other = written(archive_of(tmp_path / "b", rows[900:], rows[:33], rows[33:900]), tmp_path / "y.parquet")
    assert one == other
    groups = pq.ParquetFile(tmp_path / "x.parquet").metadata
    assert {groups.row_group(n).num_rows for n in range(groups.num_row_groups - 1)} <= {group_rows}
