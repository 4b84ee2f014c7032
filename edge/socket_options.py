"""What the kernel may hold for one client, and for how long."""

from __future__ import annotations

import contextlib
import socket
from typing import Protocol

SEND_BUFFER_BYTES = 32 * 1024
UNSENT_BYTES = 16 * 1024
USER_TIMEOUT_MS = 30_000

_LINUX: dict[str, int] = {"TCP_NOTSENT_LOWAT": 25} if hasattr(socket, "SO_PEERCRED") else {}


class Socket(Protocol):
    """What transports give of theirs."""

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        """As `socket.socket` has it."""


def bound(connection: Socket) -> None:
    """Bound what waits in the kernel: a stalled reader would hide 4 MB there."""
    with contextlib.suppress(OSError):  # a Unix socket has no TCP options
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        for name, value in (("TCP_NOTSENT_LOWAT", UNSENT_BYTES), ("TCP_USER_TIMEOUT", USER_TIMEOUT_MS)):
            option = getattr(socket, name, _LINUX.get(name))
            if option is not None:
                connection.setsockopt(socket.IPPROTO_TCP, option, value)
