"""Ports for servers of tests, also for those that are killed and come back on the same port.

Taken from below the range out of which the kernel serves outgoing connections and port 0: while a killed
server is away, no connection of another test can be given its port.
"""

from __future__ import annotations

import random

from infra.local.lifeline import port_is_free

PORTS = range(20_000, 32_000)
_given: set[int] = set()
_chance = random.SystemRandom()  # hypothesis seeds the other one alike in each process


def own_port() -> int:
    """A port of the loopback address that is free, and that this process was not given before."""
    for port in _chance.sample(PORTS, len(PORTS)):
        if port not in _given and port_is_free(port):
            _given.add(port)
            return port
    raise AssertionError("no port is free")
