"""The frames of an open session on their way from the socket: each is handled where it is read.

While too much is at work, or the client does not read its answers, nothing more is taken: the socket is not
read, so the client's frames wait there and its silence proves nothing (P8), and what was read already waits
here, in its order.
"""

from __future__ import annotations

import asyncio
from collections import deque

from edge.core.codec import PONGS
from edge.core.session import Session, State
from edge.dialogue import Dialogue
from edge.lanes import Spawn, fail
from edge.websocket import FRAMES_OF_READ_MAX, EdgeProtocol


class Intake:
    """One per session; `take` is the wire's."""

    __slots__ = ("_dialogue", "_loop", "_session", "_spawn", "_waiting", "_wire")

    def __init__(self, wire: EdgeProtocol, session: Session, dialogue: Dialogue, *, spawn: Spawn) -> None:
        self._wire = wire
        self._session = session
        self._dialogue = dialogue
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[str] | None = None
        """What was read behind a frame that has to wait, that frame first; None while nothing has to."""

    def take(self, text: str) -> None:
        """A frame was read."""
        if text in PONGS:
            return
        if self._waiting is not None:
            self._waiting.append(text)
        elif self._session.state is not State.OPEN:
            return
        elif self._dialogue.must_wait:
            self._waiting = deque((text,), maxlen=FRAMES_OF_READ_MAX)
            self._wire.pause_reading()
            self._session.held(self._loop.time(), held=True)
            self._spawn(self._go_on())
        else:
            try:
                self._dialogue.handle(text)
            except Exception as error:  # noqa: BLE001  # a bug ends this session, not the reading of sockets
                self._spawn(fail(error))

    async def _go_on(self) -> None:
        while self._waiting and self._session.state is State.OPEN:
            if self._dialogue.must_wait:
                await self._dialogue.room()
            else:
                self._dialogue.handle(self._waiting.popleft())
        self._waiting = None
        self._session.held(self._loop.time(), held=False)
        self._wire.resume_reading()
