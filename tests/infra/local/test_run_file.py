"""Who runs in a directory: the lock decides, the file informs."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.data_directory import DataDirectory
from infra.local.run_file import Run, held, hold, write_run
from shared.errors import Misconfigured, Unavailable

RUN = Run(
    supervisor=1,
    state="ready",
    nats_url="nats://x",
    partitions=8,
    replicas=1,
    edges=("http://e",),
    page="http://e",
)


def test_only_one_supervisor(tmp_path: Path) -> None:
    """The second is refused with a sentence that says what to do, and gets in once the first has ended."""
    lock = tmp_path / "data" / "lock"
    assert not held(lock)
    with hold(lock):
        assert held(lock)
        with pytest.raises(Misconfigured, match="parley down"), hold(lock):
            pass
    with hold(lock):
        pass
    assert not held(lock)


def test_a_killed_supervisor_holds_nothing(tmp_path: Path) -> None:
    """kill -9 releases the lock, whatever pid the run file names."""
    lock = tmp_path / "lock"
    script = (
        "import sys, pathlib; from infra.local.run_file import hold\n"
        "with hold(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    assert held(lock)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    assert not held(lock)


def test_a_stale_run_file_is_not_believed(tmp_path: Path) -> None:
    """The file of a run that is over does not make anything run."""
    directory = DataDirectory(tmp_path)
    write_run(directory.run_file, RUN)
    with pytest.raises(Unavailable, match="parley up"):
        directory.run()
    with hold(directory.lock):
        assert directory.run() == RUN
