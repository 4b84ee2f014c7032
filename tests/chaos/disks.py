"""Disks that fill up and disks that are slow.

Full: each store that may fill lies on a small tmpfs of its own, which needs a machine on which this process
may mount. Slow: `strace` holds every positioned write, sync and rename for 20 ms before the kernel sees it;
sockets go on at their own speed. A throttle of the kernel (blkio, io.max) was not taken: cgroups of the first
kind do not count buffered writes, and the controller of the second kind is not there on every machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from infra.local.lifeline import die_with_parent

DISK_BYTES = 512 * 1024 * 1024
SLOWED = "pwrite64,pwritev,fsync,fdatasync,ftruncate,renameat,rename"
SLOWED_BY_US = 20_000
_FILLER = "filler"
_CHUNK = bytes(1024 * 1024)


def why_not_full(scratch: Path) -> str:
    """Why no disk can be filled here, "" if one can."""
    with contextlib.suppress(OSError, subprocess.SubprocessError), small_disk(scratch / "probe"):
        return ""
    return "this process may not mount a tmpfs"


def why_not_slow() -> str:
    """Why no disk can be slowed down here, "" if one can."""
    strace = shutil.which("strace")
    if strace is None:
        return "there is no strace"
    done = subprocess.run(
        [strace, "-qq", "-e", f"inject={SLOWED}:delay_enter=1", "-o", os.devnull, "true"],
        capture_output=True,
        timeout=30,
        check=False,
    )
    return "" if done.returncode == 0 else "strace may not trace, or knows no delays"


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """A file system of its own at this path. Raises where that is not allowed."""
    path.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)]
    subprocess.run(mount, check=True, capture_output=True, timeout=30)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=False, capture_output=True, timeout=30)


def fill(path: Path) -> None:
    """Leave no byte free on the file system of `path`. Raises if it is not a small one of ours."""
    room = os.statvfs(path)
    assert room.f_blocks * room.f_frsize <= DISK_BYTES, f"{path} is not on a small disk"
    with contextlib.suppress(OSError), (path / _FILLER).open("ab", buffering=0) as filler:
        while True:
            filler.write(_CHUNK)


def free(path: Path) -> None:
    """Give the room back."""
    (path / _FILLER).unlink(missing_ok=True)


async def slow_down(pid: int, for_s: float) -> None:
    """Make the disk slow for a process; returns when it is at its own speed again."""
    strace = await asyncio.create_subprocess_exec(
        *("strace", "-qq", "-f", "-p", str(pid), "-o", os.devnull),
        *("-e", f"trace={SLOWED}", "-e", f"inject={SLOWED}:delay_enter={SLOWED_BY_US}"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        preexec_fn=die_with_parent(),
    )
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(for_s):
                await strace.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            strace.send_signal(signal.SIGINT)  # it detaches
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await strace.wait()
        if strace.returncode is None:
            strace.kill()
            await strace.wait()
