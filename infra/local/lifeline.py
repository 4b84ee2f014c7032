"""Children that cannot outlive their parent, and ports that nobody uses.

A supervisor that is killed with -9 runs no clean-up. On Linux the kernel does it: `PR_SET_PDEATHSIG`
kills the child when the thread that started it ends. Elsewhere the pids in the run file are the remedy
(`parley down`).
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import os
import random
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1

LISTENING = range(10_000, 20_000)
"""Below what Linux gives to connections: none of them has the port of a killed service when that returns."""

_given: set[int] = set()
_chance = random.SystemRandom()  # whoever seeds the other one wants chances alike, and no ports


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
    """One of `free_ports`."""
    return free_ports(1)[0]


def free_ports(count: int, among: range = LISTENING) -> tuple[int, ...]:
    """Different free ports of the loopback address, which no living process of this user was given.

    Between a choice and its listener seconds may pass, and others choose too: so each port is a byte of one
    file, locked for as long as the process lives that was given it. Raises OSError without ports or file.
    """
    found: list[int] = []
    for port in _chance.sample(among, len(among)):
        if len(found) == count:
            break
        if port not in _given and port_is_free(port) and _claimed(port):
            _given.add(port)
            found.append(port)
    if len(found) < count:
        raise OSError(f"no {count} ports from {among.start} to {among.stop - 1} are free")
    return tuple(found)


def _claimed(port: int) -> bool:
    book = _book()
    try:
        fcntl.lockf(book, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:  # somebody has it
        return False
    return True


@functools.cache
def _book() -> int:
    """The descriptor of the file, which is this user's alone. Raises OSError."""
    path = Path(tempfile.gettempdir()) / f"parley-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a listener could be opened on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
