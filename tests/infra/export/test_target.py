"""An export is there when it is whole, and replaces nothing unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.export.target import whole_file
from shared.errors import BadRequest, Conflict


def test_it_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    """Until then there is only a temporary file."""
    path = tmp_path / "x.jsonl"
    with whole_file(path, force=False) as temporary:
        temporary.write_text("all")
        assert not path.exists()
    assert path.read_text() == "all"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    """Neither a part under the name nor a temporary file."""
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "x", force=False) as temporary:
        assert temporary.write_text("half") / 0
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays(tmp_path: Path) -> None:
    """Also what comes while the export is written; unless it is to be replaced."""
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(Conflict, match="--force"), whole_file(path, force=False):
        raise AssertionError("not reached")
    with whole_file(path, force=True) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    path.unlink()
    with pytest.raises(Conflict), whole_file(path, force=False):
        path.write_text("somebody's")
    assert path.read_text() == "somebody's"


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    """A sentence, not a traceback."""
    for path in (tmp_path / "no" / "x", tmp_path):
        with pytest.raises(BadRequest), whole_file(path, force=True):
            raise AssertionError("not reached")
