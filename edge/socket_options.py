"""What the kernel may hold for one client, and for how long."""

from __future__ import annotations

import contextlib
import socket
from typing import Protocol

SEND_BUFFER_BYTES = 32 * 1024
UNSENT_BYTES = 16 * 1024
USER_TIMEOUT_MS = 30_000

_LINUX: dict[str, int] = {"TCP_NOTSENT_LOWAT": 25} if hasattr(socket, "SO_PEERCRED") else {}
_WANTED = {"TCP_NOTSENT_LOWAT": UNSENT_BYTES, "TCP_USER_TIMEOUT": USER_TIMEOUT_MS}
_TCP = {getattr(socket, name, _LINUX.get(name)): value for name, value in _WANTED.items()}
"""By number; None stands for what this system does not have."""


class Socket(Protocol):
    """What transports give of theirs."""

    family: int
    type: int
    proto: int

    def fileno(self) -> int:
        """Its descriptor."""


def bound(connection: Socket) -> None:
    """Bound what waits in the kernel: a stalled reader would hide 4 MB there.

    Through one object of our own: uvloop's makes one for each option.
    """
    with contextlib.suppress(OSError):  # a Unix socket has no TCP options
        ours = socket.socket(connection.family, connection.type, connection.proto, fileno=connection.fileno())
        try:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            for option, value in _TCP.items():
                if option is not None:
                    ours.setsockopt(socket.IPPROTO_TCP, option, value)
        finally:
            ours.detach()
