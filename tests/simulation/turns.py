"""Coroutines stepped by hand: no event loop, no clock. Which one goes on next is the seed's choice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from typing import Any, ClassVar, Generic, TypeVar

from shared.errors import ParleyError

T = TypeVar("T")
Ready = Callable[[], bool]

NAP_S_MAX = 0.05
"""Every sleep takes this long at most: whoever waits for a deadline gets there, and no other time passes."""


def always() -> bool:
    """Ready at once."""
    return True


class until:  # noqa: N801 - reads as the verb that it is
    """Wait until a condition holds; the driver asks it."""

    __slots__ = ("_ready",)

    def __init__(self, ready: Ready = always) -> None:
        self._ready = ready

    def __await__(self) -> Generator[Ready, None, None]:
        yield self._ready


async def nap(delay_s: float) -> None:
    """Stands in for `asyncio.sleep`: it ends when the seed says so."""
    await until()
    Current.now_s += min(delay_s, NAP_S_MAX)


class Event:
    """Stands in for asyncio's."""

    __slots__ = ("_is_set",)

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


class Condition:
    """Stands in for asyncio's: whoever waits looks whenever it is asked."""

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_: object) -> None:
        pass

    async def wait_for(self, holds: Ready) -> None:
        if not holds():
            await until(holds)

    def notify_all(self) -> None:
        pass


class Future(Generic[T]):
    """Stands in for asyncio's."""

    __slots__ = ("_callbacks", "_error", "_is_done", "_result")

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Future[T]], object]] = []
        self._is_done = False
        self._result: T | None = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        return self._is_done

    def exception(self) -> BaseException | None:
        return self._error

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    def set_result(self, result: T) -> None:
        self._end(result, None)

    def set_exception(self, error: BaseException) -> None:
        self._end(None, error)

    def add_done_callback(self, callback: Callable[[Future[T]], object]) -> None:
        self._callbacks.append(callback)
        if self._is_done:
            self._call()

    def _end(self, result: T | None, error: BaseException | None) -> None:
        assert not self._is_done, "a future is set once"
        self._is_done, self._result, self._error = True, result, error
        self._call()

    def _call(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            Current.works.call_soon(callback, self)

    def __await__(self) -> Generator[Ready, None, T]:
        if not self._is_done:
            yield self.done
        return self.result()


async def gather(*coroutines: Coroutine[Any, Any, T]) -> list[T]:
    """Stands in for asyncio's: side by side, in the works that run now."""
    futures: list[Future[T]] = [Future() for _ in coroutines]
    for coroutine, future in zip(coroutines, futures, strict=True):
        Current.works.add(coroutine, future=future)
    return [await future for future in futures]


class Work:
    """A coroutine, and whether it can go on."""

    __slots__ = ("coroutine", "future", "may_fail", "owner", "ready")

    def __init__(
        self,
        coroutine: Coroutine[Ready, None, object],
        owner: object,
        may_fail: bool,
        future: Future[Any] | None,
    ) -> None:
        self.coroutine = coroutine
        self.future = future
        self.may_fail = may_fail
        self.owner = owner
        self.ready: Ready = always


class Works:
    """Coroutines that take turns: all of the edges', or those of one sequencer."""

    def __init__(self) -> None:
        self._works: list[Work] = []
        self.frozen: set[object] = set()
        """Owners whose works do not get their turn for now."""

    def add(
        self,
        coroutine: Coroutine[Any, Any, object],
        owner: object = None,
        *,
        may_fail: bool = False,
        future: Future[Any] | None = None,
    ) -> None:
        """Take a coroutine in; it starts when it is chosen, and `future` has its result.

        `may_fail`: an operating error ends it alone.
        """
        self._works.append(Work(coroutine, owner, may_fail, future))

    def end(self, owner: object) -> None:
        """What belonged to this owner never goes on: it crashed, or was closed."""
        ended = [work for work in self._works if work.owner is owner]
        self._works = [work for work in self._works if work.owner is not owner]
        for work in ended:
            work.coroutine.close()

    def has(self, owner: object) -> bool:
        """Whether anything of this owner's is under way."""
        return any(work.owner is owner for work in self._works)

    def step(self, choice: int) -> bool:
        """Let one that can go on do so; False if none can."""
        runnable = [work for work in self._works if work.owner not in self.frozen and work.ready()]
        if not runnable:
            return False
        work = runnable[choice % len(runnable)]
        before, Current.works = Current.works, self
        try:
            work.ready = work.coroutine.send(None)
        except StopIteration as stop:
            self._works.remove(work)
            if work.future is not None:
                work.future.set_result(stop.value)
        except ParleyError:
            if not work.may_fail:
                raise
            self._works.remove(work)
        finally:
            Current.works = before
        return True

    def close(self) -> None:
        """End the run."""
        works, self._works = self._works, []
        for work in works:
            work.coroutine.close()

    # what the product asks a loop for

    def time(self) -> float:
        return Current.now_s

    def create_future(self) -> Future[Any]:
        return Future()

    def call_soon(self, callback: Callable[..., object], *arguments: object) -> None:
        self.add(_called(callback, arguments))

    def call_later(self, _: float, callback: Callable[..., object], *arguments: object) -> None:
        self.call_soon(callback, *arguments)


async def _called(callback: Callable[..., object], arguments: tuple[object, ...]) -> None:
    callback(*arguments)


class Current:
    """The run that the product's modules see as their loop and their clock."""

    works = Works()
    now_s = 0.0
    struck: ClassVar[Counter[str]] = Counter()
    """Which faults have really struck in this run, and how often (`faults.py`)."""

    @classmethod
    def begin(cls) -> Works:
        """A new run."""
        cls.works, cls.now_s, cls.struck = Works(), 0.0, Counter()
        return cls.works


def strike(fault: str) -> None:
    """A fault has made a difference."""
    Current.struck[fault] += 1
