"""NATS servers whose disk was full: started again once there is room.

A stream that nats-server 2.15.1 could not write takes nothing more, whatever room there is later, and
/healthz says so until the server is started anew. That never mends by itself, so it is the one state in which
a process is restarted that is alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from infra.local.child import Child, ChildFailed
from infra.local.probe import readiness
from shared.retry import Deadline

POLL_S = 5.0
ROOM_BYTES_MIN = 64 * 1024 * 1024
"""A server that starts with less is soon where it was."""

PAUSE_FIRST_S, PAUSE_MAX_S = 10.0, 300.0
READY_DEADLINE_S = 60.0
_FULL = "no space left on device"


async def watch(children: Sequence[Child], say: Callable[[str, str], None]) -> None:
    """For ever: restart these servers when they have met a full disk that has room again, one at a time.

    The same one only after a pause, which doubles each time.
    """
    pauses = {child.spec.name: pauses_s() for child in children}
    next_s = dict.fromkeys(pauses, 0.0)
    while True:
        await asyncio.sleep(POLL_S)
        for child in children:
            name = child.spec.name
            if (
                time.monotonic() < next_s[name]
                or not await _is_stuck(child)
                or not has_room(child.spec.store)
            ):
                continue
            say(name, "met a full disk, there is room again: starts anew")
            next_s[name] = time.monotonic() + next(pauses[name])
            child.renew()
            with contextlib.suppress(ChildFailed):  # the next look will say the same
                await child.until_ready(Deadline.after(READY_DEADLINE_S))


async def _is_stuck(child: Child) -> bool:
    answer = await readiness(child.spec.url, child.spec.ready_path)
    return not answer.ready and _FULL in answer.detail


def has_room(store: Path | None) -> bool:
    """Whether the file system of a store has room for a server to go on."""
    with contextlib.suppress(OSError):
        return store is not None and shutil.disk_usage(store).free >= ROOM_BYTES_MIN
    return False


def pauses_s() -> Iterator[float]:
    """The pauses between two restarts of one server."""
    pause_s = PAUSE_FIRST_S
    while True:
        yield pause_s
        pause_s = min(PAUSE_MAX_S, 2 * pause_s)
