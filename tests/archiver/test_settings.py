"""The archiver's settings: what each says, and which partitions it keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from archiver.settings import ArchiverSettings
from shared.errors import Misconfigured
from shared.settings import documented, load


def test_every_setting_is_described() -> None:
    """Each variable has a sentence for the README."""
    assert all(line.description for line in documented(ArchiverSettings))


@pytest.mark.parametrize(
    ("said", "own"),
    [("", [0, 1, 2, 3, 4, 5, 6, 7]), ("3", [3]), ("0-3", [0, 1, 2, 3]), ("6-7,0,6", [0, 6, 7])],
)
def test_partitions_are_named(said: str, own: list[int]) -> None:
    """Numbers and ranges, each once; nothing said means all."""
    assert list(ArchiverSettings(archiver_partitions=said).own_partitions(8)) == own


@pytest.mark.parametrize("said", ["8", "0-8", "5-2"])
def test_partitions_that_are_not_there_are_refused(said: str) -> None:
    """An archiver that kept nothing, or less than it was told, would be missed only much later."""
    with pytest.raises(Misconfigured, match="0 to 7"):
        ArchiverSettings(archiver_partitions=said).own_partitions(8)


@pytest.mark.parametrize("said", ["a", "1-", "-1", "1,,2", "1 2"])
def test_what_names_no_partitions_is_refused(said: str) -> None:
    """A typing error is no wish for all of them."""
    with pytest.raises(ValueError, match="pattern"):
        ArchiverSettings(archiver_partitions=said)


@pytest.mark.parametrize(
    ("cache", "why"), [(None, "of its own"), ("archive", "outside of it"), ("archive/cache", "outside of it")]
)
def test_a_reader_needs_a_place_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: str | None, why: str
) -> None:
    """That of the writer is in the archive, and a reader writes nothing there."""
    monkeypatch.setenv("PARLEY_ARCHIVE", str(tmp_path / "archive"))
    monkeypatch.setenv("PARLEY_ARCHIVER_READER", "true")
    monkeypatch.delenv("PARLEY_ARCHIVE_CACHE", raising=False)
    if cache is not None:
        monkeypatch.setenv("PARLEY_ARCHIVE_CACHE", str(tmp_path / cache))
    with pytest.raises(Misconfigured, match=f"PARLEY_ARCHIVE_CACHE.*{why}"):
        load(ArchiverSettings)
    monkeypatch.setenv("PARLEY_ARCHIVE_CACHE", str(tmp_path / "reader"))
    assert load(ArchiverSettings).cache_dir == tmp_path / "reader"
