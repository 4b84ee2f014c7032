"""The end of a turn of the loop: what came up in it goes out together, before anything else is read.

First the feeds tell their audiences, which write to sockets, as acks and other frames have done meanwhile;
then each of these sockets is flushed, with one system call for all that it was written. Two callbacks of the
loop, one behind the other, would let it read in between: a busy edge delivers that much later. And one
callback per socket costs as much as the rest of a delivery but its system call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol


class Socket(Protocol):
    """What holds back what it is written until it is flushed."""

    def flush(self) -> None:
        """Hand it to the kernel."""


class Turn:
    """One per loop. What a feed hands over while the end runs waits for the next; what is written, not.

    Each feed is there once, and each socket: so many there can be of them, and no more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.is_lone = False
        """Whether one feed alone has something to tell in the turn that ends."""
        self._feeds: list[Callable[[], None]] = []
        self._sockets: list[Socket] = []
        self._is_due = False

    def tell(self, call: Callable[[], None]) -> None:
        """An audience has something to hear."""
        self._feeds.append(call)
        if not self._is_due:
            self._soon()

    def flush(self, socket: Socket) -> None:
        """A socket was written to."""
        self._sockets.append(socket)
        if not self._is_due:
            self._soon()

    def _soon(self) -> None:
        self._is_due = True
        self.loop.call_soon(self._end)

    def _end(self) -> None:
        self.is_lone = len(self._feeds) == 1
        feeds, self._feeds = iter(self._feeds), []
        sockets = iter(self._sockets)
        try:
            for tell in feeds:
                tell()
            for socket in sockets:
                socket.flush()
        finally:  # whoever raises does not keep the others from their turn
            self._feeds[:0], self._sockets = feeds, list(sockets)
            self._is_due = self.is_lone = False
            if self._feeds or self._sockets:
                self._soon()


_turn: Turn | None = None


def this_turn() -> Turn:
    """The one of the running loop."""
    global _turn  # noqa: PLW0603  # a process has one loop, tests have one after the other
    loop = asyncio.get_running_loop()
    if _turn is None or _turn.loop is not loop:
        _turn = Turn(loop)
    return _turn
