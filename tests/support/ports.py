"""Ports for servers of tests, also for those that are killed and come back on the same port.

Taken from below the range out of which the kernel serves outgoing connections and port 0: while a killed
server is away, no connection of another test can be given its port. Nor is it given to another run of the
tests (`free_ports`).
"""

from __future__ import annotations

from infra.local.lifeline import free_ports

PORTS = range(20_000, 32_000)


def own_port() -> int:
    """A port of the loopback address that is free, and that no living process of tests was given."""
    return free_ports(1, PORTS)[0]
