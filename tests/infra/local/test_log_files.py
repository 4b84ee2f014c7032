"""Following and bounding the children's log files."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.local import log_files
from infra.local.log_files import LogFile, last_lines


def test_only_new_and_whole_lines_are_read(tmp_path: Path) -> None:
    """What stood there before is old news; a line appears once it has its end."""
    path = tmp_path / "edge-1.log"
    path.write_text("old\n")
    log = LogFile("edge-1", path)
    with path.open("a") as file:
        file.write("one\ntw")
        file.flush()
        assert log.new_lines() == ["one"]
        file.write("o\n")
        file.flush()
        assert log.new_lines() == ["two"]
    assert log.new_lines() == []


def test_a_file_that_is_not_there_yet_is_no_error(tmp_path: Path) -> None:
    """The child will create it."""
    assert LogFile("edge-1", tmp_path / "edge-1.log").new_lines() == []


def test_a_long_file_is_turned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old content goes to `.log.1`, the child's next append starts the file anew, no line is missed."""
    monkeypatch.setattr(log_files, "FILE_BYTES_MAX", 100)
    path = tmp_path / "edge-1.log"
    log = LogFile("edge-1", path)
    with path.open("ab", buffering=0) as child:
        child.write(b"x" * 200 + b"\n")
        assert log.new_lines() == ["x" * 200]
        child.write(b"next\n")
        assert log.new_lines() == ["next"]
    assert path.read_text() == "next\n"
    assert path.with_suffix(".log.1").stat().st_size == 201


def test_the_end_of_a_log_explains_a_failure(tmp_path: Path) -> None:
    """The last lines, or nothing where there is no file."""
    path = tmp_path / "edge-1.log"
    assert last_lines(path, 2) == ""
    path.write_text("a\nb\nc\n")
    assert last_lines(path, 2) == "b\nc"
