"""A session's tasks: some while there is something to wait for, none while it is idle.

A task group needs a task that waits for it: with what a session used to wait for besides, that was two thirds
of the memory of an idle one (see DESIGN.md). Here the tasks' parent is the session, which ends them when its
connection is over, and waits until they have ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

Work = Coroutine[object, object, None]


class Tasks:
    """The tasks of one session. `on_failed` hears of each that raised."""

    __slots__ = ("_is_over", "_on_failed", "_running")

    def __init__(self, on_failed: Callable[[Exception], None]) -> None:
        self._on_failed = on_failed
        self._running: set[asyncio.Task[None]] | None = None
        self._is_over = False

    def spawn(self, work: Work) -> asyncio.Task[None]:
        """Begin something that ends with the session."""
        assert not self._is_over, "the session is over"
        task = asyncio.create_task(work)
        if self._running is None:
            self._running = set()
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def end(self) -> None:
        """Cancel what runs; returns when nothing does. Nothing is begun any more."""
        self._is_over = True
        while self._running:
            for task in self._running:
                task.cancel()
            await asyncio.wait(self._running)

    def _ended(self, task: asyncio.Task[None]) -> None:
        assert self._running is not None
        self._running.discard(task)
        if not self._running:
            self._running = None
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._on_failed(error)


class Errand:
    """What is done again whenever there is reason to, by a task that lasts as long as there is.

    While it is being done, to ask once more means that it is done once more afterwards.
    """

    __slots__ = ("_do", "_is_asked", "_is_running", "_spawn")

    def __init__(self, do: Callable[[], Work], spawn: Callable[[Work], object]) -> None:
        self._do = do
        self._spawn = spawn
        self._is_asked = False
        self._is_running = False

    def ask(self) -> None:
        """There is reason to."""
        self._is_asked = True
        if not self._is_running:
            self._is_running = True
            self._spawn(self._run())

    def end(self) -> None:
        """Nothing is a reason any more."""
        self._is_running = True

    async def _run(self) -> None:
        while self._is_asked:
            self._is_asked = False
            await self._do()
        self._is_running = False
