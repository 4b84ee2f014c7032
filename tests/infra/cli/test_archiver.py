"""`parley archiver`: the service of that name, in this process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--reader"], 2, "PARLEY_ARCHIVE_CACHE: Value error, a reader needs a directory of its own"),
        ([], 2, "PARLEY_FLUSH_EVENTS"),
    ],
)
def test_it_is_the_archiver(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    """Its settings are those variables, its exit code is that of the service."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    done = subprocess.run(
        [sys.executable, "-c", "from infra.cli import main; main()", "archiver", *words],
        capture_output=True,
        text=True,
        timeout=120,
        env=env | {"PARLEY_ARCHIVE": str(tmp_path), **({} if words else {"PARLEY_FLUSH_EVENTS": "0"})},
        check=False,
    )
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
