"""Children that cannot outlive their parent, and ports that nobody uses.

A supervisor that is killed with -9 runs no clean-up. On Linux the kernel does it: `PR_SET_PDEATHSIG`
kills the child when the thread that started it ends. Elsewhere the pids in the run file are the remedy
(`parley down`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1

LISTENING = range(10_000, 20_000)
"""Below what Linux gives to connections: none of them has the port of a killed service when that returns."""

TRIES = 1_000


def die_with_parent(death_signal: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """What a child runs between fork and exec (`preexec_fn`) so that it ends when its parent does."""
    parent = os.getpid()
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def bind() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, death_signal)
            if os.getppid() != parent:  # it died before the kernel was told
                os.kill(os.getpid(), death_signal)

    return bind


def free_port() -> int:
    """A port of the loopback address that was free a moment ago."""
    return free_ports(1)[0]


def free_ports(count: int) -> tuple[int, ...]:
    """Different ports of the loopback address that were free a moment ago. Raises OSError without them."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        for _ in range(TRIES):
            if len(found) == count:
                break
            port = random.SystemRandom().choice(LISTENING)
            probe = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
    if len(found) < count:
        raise OSError(f"no {count} ports from {LISTENING.start} to {LISTENING.stop - 1} are free")
    return tuple(found)


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a listener could be opened on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
