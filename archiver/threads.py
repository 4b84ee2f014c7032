"""A bounded pool of threads for what blocks: the event loop only ever awaits.

A visit to a thread costs the loop some 60 us, as much as ten lookups in an index; so what is quick can share
one: under load the questions of one turn of the loop are many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_Outcome = Callable[[], None]
"""What the loop has to do about a call that has been made."""


class Threads:
    """`await threads.run(function, …)` runs it on one of the pool's threads."""

    def __init__(self, name: str, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._gathered: list[Callable[[], _Outcome]] = []

    async def run(self, function: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        """The function's result; a cancelled caller does not stop what has begun."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    async def run_together(self, function: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        """As `run`, for what is quick: the calls of one turn of the loop share one visit, one by one."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        if not self._gathered:
            loop.call_soon(self._send, loop)
        self._gathered.append(partial(_outcome, result, partial(function, *args)))
        return await result

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        calls, self._gathered = self._gathered, []
        self._pool.submit(_visit, loop, calls)

    def close(self) -> None:
        """Drop what waits, wait for what runs."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _visit(loop: asyncio.AbstractEventLoop, calls: Sequence[Callable[[], _Outcome]]) -> None:
    outcomes = [call() for call in calls]
    loop.call_soon_threadsafe(_tell, outcomes)


def _tell(outcomes: Sequence[_Outcome]) -> None:
    for outcome in outcomes:
        outcome()


def _outcome(future: asyncio.Future[T], call: Callable[[], T]) -> _Outcome:
    try:
        result = call()
    except Exception as error:  # noqa: BLE001  # the boundary of a call: whoever awaits it gets it
        return partial(_fail, future, error)
    return partial(_settle, future, result)


def _settle(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[T], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
