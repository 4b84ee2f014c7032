"""Who may have a directory of derived files together with whom."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from archiver.derived_file import alone, kept
from shared.errors import Misconfigured


def test_a_reader_shares_its_directory_with_nobody(tmp_path: Path) -> None:
    """Archivers that write may have one together; it is free again when they end."""
    directory = tmp_path / "cache"
    with kept(directory, by_reader=True):
        for by_reader in (True, False):
            with pytest.raises(Misconfigured, match="one of its own"), kept(directory, by_reader=by_reader):
                pass
    with (
        kept(directory, by_reader=False),
        kept(directory, by_reader=False),
        pytest.raises(Misconfigured),
        kept(directory, by_reader=True),
    ):
        pass
    with kept(directory, by_reader=True):
        pass


def test_one_at_a_time_at_a_file(tmp_path: Path) -> None:
    """It is free again after an error, too."""
    for _ in range(2):
        with contextlib.suppress(ZeroDivisionError), alone(tmp_path / "a.sqlite"):
            raise ZeroDivisionError
