"""Tasks of a session: errors are heard, the end is waited for, and an errand is run once at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from edge.tasks import Errand, Tasks
from tests.support.waiting import eventually


class Session:
    """Tasks, and what was heard of them."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.tasks = Tasks(lambda error: self.failures.append(str(error)))
        self.at_work = asyncio.Event()

    async def stay(self) -> None:
        """Work until the session is over."""
        self.at_work.set()
        await asyncio.Event().wait()


async def test_the_end_waits_for_all() -> None:
    """`end` returns when the last task has let go, also of one that takes its time about it."""
    session = Session()
    over: list[str] = []

    async def lingering() -> None:
        try:
            await session.stay()
        finally:
            await asyncio.sleep(0)
            over.append("lingering")

    session.tasks.spawn(lingering())
    other = session.tasks.spawn(session.stay())
    await session.at_work.wait()
    await session.tasks.end()
    assert over == ["lingering"]
    assert other.cancelled()
    assert session.failures == []


async def test_an_error_is_heard_once() -> None:
    """Whoever raises is reported, and the others go on until they are ended."""
    session = Session()

    async def failing() -> None:
        raise RuntimeError("a bug")

    other = session.tasks.spawn(session.stay())
    session.tasks.spawn(failing())
    await eventually(lambda: session.failures)
    assert not other.done()
    await session.tasks.end()
    assert other.cancelled()
    assert session.failures == ["a bug"]


async def test_an_error_on_the_way_out_is_heard() -> None:
    """What a task raises while it is being ended does not get lost."""
    session = Session()

    async def stumbling() -> None:
        try:
            await session.stay()
        finally:
            raise RuntimeError("late")

    session.tasks.spawn(stumbling())
    await session.at_work.wait()
    await session.tasks.end()
    await eventually(lambda: session.failures)
    assert session.failures == ["late"]


async def test_an_errand_runs_once_more_when_asked_meanwhile() -> None:
    """Asked again while it runs it runs once more, never twice at a time; idle it has no task."""
    running = 0
    runs: list[int] = []
    gate = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def do() -> None:
        nonlocal running
        running += 1
        runs.append(running)
        await gate.wait()
        running -= 1

    def spawn(work: Coroutine[object, object, None]) -> None:
        tasks.append(asyncio.create_task(work))

    errand = Errand(do, spawn)
    errand.ask()
    errand.ask()
    await eventually(lambda: running == 1)
    errand.ask()
    errand.ask()
    gate.set()
    await asyncio.gather(*tasks)
    assert (runs, len(tasks)) == ([1, 1], 1)
    errand.ask()
    await asyncio.gather(*tasks)
    assert (runs, len(tasks)) == ([1, 1, 1], 2)


async def test_an_errand_that_has_ended_is_not_run() -> None:
    """Behind the end of a session nothing is begun, whoever asks: a timer, a feed."""
    begun: list[object] = []

    async def do() -> None:
        raise AssertionError("begun")

    errand = Errand(do, begun.append)
    errand.end()
    errand.ask()
    assert begun == []
