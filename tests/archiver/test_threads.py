"""Threads: what blocks runs there, and whoever waits gets the answer or the error of its own call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from archiver.threads import Threads


@pytest.fixture
def threads() -> Iterator[Threads]:
    """One thread."""
    pool = Threads("test", 1)
    yield pool
    pool.close()


async def test_calls_of_one_turn_share_a_visit(threads: Threads) -> None:
    """Each gets its own answer; what the thread was given before has run by then."""
    gate = threading.Event()
    before = asyncio.ensure_future(threads.run(gate.wait))
    answers = asyncio.gather(*(threads.run_together(pow, number, 2) for number in range(20)))
    gate.set()
    assert await answers == [number**2 for number in range(20)]
    assert await before


async def test_an_error_reaches_its_own_caller(threads: Threads) -> None:
    """One call that fails does not touch the others of its turn."""
    good, bad, last = await asyncio.gather(
        threads.run_together(divmod, 7, 2),
        threads.run_together(divmod, 7, 0),
        threads.run_together(divmod, 9, 2),
        return_exceptions=True,
    )
    assert (good, last) == ((3, 1), (4, 1))
    assert isinstance(bad, ZeroDivisionError)


async def test_a_caller_that_left_does_no_harm(threads: Threads) -> None:
    """A cancelled call's answer is dropped; the others of its turn have theirs."""
    gate = threading.Event()
    leaving = asyncio.ensure_future(threads.run_together(gate.wait))
    staying = asyncio.ensure_future(threads.run_together(pow, 3, 2))
    await asyncio.sleep(0)
    leaving.cancel()
    gate.set()
    assert await staying == 9
    assert leaving.cancelled()
