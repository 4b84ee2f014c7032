"""Which sockets of this process may be written to past their transports: one byte each, by descriptor.

A socket is free while it is open, holds nothing back, and the kernel has taken everything: then its next
bytes may be whoever's. Only `EdgeProtocol` writes here; fan-out reads (`audience`).
"""

from __future__ import annotations

NONE = 0
"""What has no descriptor of its own, under TLS for example: never free. (No connection has the number 0.)"""

FREE = bytearray(1024)


def register(fd: int) -> None:
    """Make room for a descriptor."""
    if fd >= len(FREE):
        FREE.extend(bytes(fd + 1 - len(FREE)))
