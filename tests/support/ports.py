"""Ports for servers of tests, also for those that are killed and come back on the same port.

Taken from below the range out of which the kernel serves outgoing connections and port 0: while a killed
server is away, no connection of another test can be given its port. Nor is it given to another run of the
tests: each port is a byte of one file, which is locked for as long as the process lives that was given it.
"""

from __future__ import annotations

import fcntl
import os
import random
import tempfile
from pathlib import Path

from infra.local.lifeline import port_is_free

PORTS = range(20_000, 32_000)
_given: set[int] = set()
_book = (Path(tempfile.gettempdir()) / f"parley-test-ports-{os.getuid()}").open("ab")
_chance = random.SystemRandom()  # hypothesis seeds the other one alike in each process


def own_port() -> int:
    """A port of the loopback address that is free, and that no living process of tests was given."""
    for port in _chance.sample(PORTS, len(PORTS)):
        if port not in _given and port_is_free(port) and _locked(port):
            _given.add(port)
            return port
    raise AssertionError("no port is free")


def _locked(port: int) -> bool:
    try:
        fcntl.lockf(_book, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True
