"""Small disks fill up and have room again; nothing else is ever filled."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from tests.chaos import disks
from tests.support.waiting import eventually


def test_only_a_small_disk_is_filled(tmp_path: Path) -> None:
    """A mistake in a path must not fill the machine."""
    with pytest.raises(AssertionError, match="not on a small disk"):
        disks.fill(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_takes_nothing_and_then_has_room_again(tmp_path: Path) -> None:
    """ENOSPC for everybody who writes there until the filler is gone; the mount ends with its block."""
    if why_not := disks.why_not_full(tmp_path):
        pytest.skip(why_not)
    small = tmp_path / "small"
    with disks.small_disk(small):
        disks.fill(small)
        with pytest.raises(OSError, match="No space left"):
            (small / "file").write_bytes(b"x")
        disks.free(small)
        (small / "file").write_bytes(b"x")
    assert not os.path.ismount(small)


_WRITER = """
import os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
at = 0
while True:
    at += os.pwrite(file, b"x", at)
"""


async def test_a_slow_disk_makes_writes_slow_and_lets_go(tmp_path: Path) -> None:
    """20 ms a write: at most 50 in a second; then as before, and the victim lives on."""
    if why_not := disks.why_not_slow():
        pytest.skip(why_not)
    file = tmp_path / "file"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _WRITER, str(file))
    try:
        await eventually(lambda: file.exists() and file.stat().st_size > 0)
        slowing = asyncio.create_task(disks.slow_down(process.pid, 1.5))
        await eventually(lambda: _tracer(process.pid))
        began, began_s = file.stat().st_size, time.monotonic()
        await asyncio.sleep(0.5)
        written = file.stat().st_size - began
        assert written <= (time.monotonic() - began_s) / 0.02 + 1
        await slowing
        let_go = file.stat().st_size
        await eventually(lambda: file.stat().st_size > let_go + 1000)
        assert process.returncode is None
    finally:
        process.kill()
        await process.wait()


def _tracer(pid: int) -> str:
    """Who traces a process, "" if nobody does."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("TracerPid")).strip("0")
