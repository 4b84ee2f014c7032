"""Coroutines stepped by hand: no event loop, no clock. Which one goes on next is the seed's choice."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator

from shared.errors import ParleyError

Ready = Callable[[], bool]


def always() -> bool:
    """Ready at once."""
    return True


class until:  # noqa: N801 - reads as the verb that it is
    """Wait until a condition holds; the driver asks it."""

    def __init__(self, ready: Ready = always) -> None:
        self._ready = ready

    def __await__(self) -> Generator[Ready, None, None]:
        yield self._ready


class Event:
    """Stands in for asyncio's."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def clear(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    async def wait(self) -> None:
        if not self._is_set:
            await until(self.is_set)


class Work:
    """A coroutine, and whether it can go on."""

    __slots__ = ("coroutine", "may_fail", "owner", "ready")

    def __init__(self, coroutine: Coroutine[Ready, None, object], owner: object, may_fail: bool) -> None:
        self.coroutine = coroutine
        self.may_fail = may_fail
        self.owner = owner
        self.ready: Ready = always


class Works:
    """All coroutines of a run; `now_s` moves only when a step says so."""

    def __init__(self) -> None:
        self._works: list[Work] = []
        self.now_s = 0.0

    def add(
        self, coroutine: Coroutine[Ready, None, object], owner: object = None, *, may_fail: bool = False
    ) -> None:
        """Take a coroutine in; it starts when it is chosen. `may_fail`: an operating error ends it alone."""
        self._works.append(Work(coroutine, owner, may_fail))

    def end(self, owner: object) -> None:
        """What belonged to this owner never goes on: it crashed, or was closed."""
        for work in self._works:
            if work.owner is owner:
                work.coroutine.close()
        self._works = [work for work in self._works if work.owner is not owner]

    def has(self, owner: object) -> bool:
        """Whether anything of this owner's is under way."""
        return any(work.owner is owner for work in self._works)

    def step(self, choice: int) -> bool:
        """Let one that can go on do so; False if none can."""
        runnable = [work for work in self._works if work.ready()]
        if not runnable:
            return False
        work = runnable[choice % len(runnable)]
        try:
            work.ready = work.coroutine.send(None)
        except StopIteration:
            self._works.remove(work)
        except ParleyError:
            if not work.may_fail:
                raise
            self._works.remove(work)
        return True

    def close(self) -> None:
        """End the run."""
        for work in self._works:
            work.coroutine.close()
        self._works.clear()

    # what the edge asks a loop for

    def time(self) -> float:
        return self.now_s

    def call_soon(self, callback: Callable[..., object], *arguments: object) -> None:
        self.add(_called(callback, arguments))

    def call_later(self, _: float, callback: Callable[..., object], *arguments: object) -> None:
        self.call_soon(callback, *arguments)


async def _called(callback: Callable[..., object], arguments: tuple[object, ...]) -> None:
    callback(*arguments)


class Current:
    """The run that the edge's modules see as their loop."""

    works = Works()
