"""Ending one process of a running system so that its supervisor starts another in its place.

Nothing but a signal is needed: every service leaves in order on SIGTERM, and the supervisor starts again
whatever ends. So this runs in any process that can read the run file.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from infra.local.data_directory import DataDirectory
from infra.local.probe import readiness
from infra.local.run_file import RunningProcess
from shared.errors import Unavailable
from shared.retry import Deadline

_POLL_S = 0.1


def ask_to_end(process: RunningProcess) -> None:
    """SIGTERM; harmless if it has just ended by itself."""
    if process.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)


async def ended(directory: DataDirectory, before: RunningProcess, deadline: Deadline) -> None:
    """Returns when the supervisor has seen its end; raises `Unavailable` at the deadline."""
    while before.pid is not None and directory.run().process(before.name).pid == before.pid:
        if deadline.passed:
            raise Unavailable(f"{before.name} (pid {before.pid}) has not ended in time; it goes on ending")
        await asyncio.sleep(_POLL_S)


async def ready_again(directory: DataDirectory, before: RunningProcess, deadline: Deadline) -> None:
    """Returns when another process has its name and is ready; raises `Unavailable` at the deadline."""
    while True:
        now = directory.run().process(before.name)
        answer = await readiness(now.url, now.ready_path)
        if answer.ready and now.pid not in {None, before.pid}:
            return
        if deadline.passed:
            raise Unavailable(f"{before.name} has ended and is not ready again: {answer.detail or 'down'}")
        await asyncio.sleep(_POLL_S)
