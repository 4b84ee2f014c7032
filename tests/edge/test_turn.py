"""The end of a turn: all that came up leaves together, and nobody keeps the others from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from edge.turn import Turn, this_turn
from tests.support.waiting import eventually


class Heard:
    """A socket that remembers when it was flushed, and may fail."""

    def __init__(self, log: list[str], error: Exception | None = None) -> None:
        self._log = log
        self._error = error

    def flush(self) -> None:
        """Remember it."""
        self._log.append("flushed")
        if self._error is not None:
            raise self._error


def says(log: list[str], word: str, *then: Callable[[], object]) -> Callable[[], None]:
    """A call that is remembered, and makes others."""

    def call() -> None:
        log.append(word)
        for each in then:
            each()

    return call


async def test_what_a_feed_tells_leaves_in_the_same_turn() -> None:
    """Behind all feeds the sockets are flushed, before the loop does anything that comes up later."""
    loop, log = asyncio.get_running_loop(), list[str]()
    turn, socket = Turn(loop), Heard(log)
    later = partial(loop.call_soon, says(log, "later"))
    turn.tell(says(log, "told", partial(turn.flush, socket), later))
    turn.tell(says(log, "told"))
    await eventually(lambda: "later" in log)
    assert log == ["told", "told", "flushed", "later"]


async def test_a_feed_has_one_say_a_turn() -> None:
    """Who has more to tell waits for the next turn, and lets others go before (a large audience)."""
    loop, log = asyncio.get_running_loop(), list[str]()
    turn = Turn(loop)
    between = partial(loop.call_soon, says(log, "between"))
    turn.tell(says(log, "first", between, partial(turn.tell, says(log, "second"))))
    await eventually(lambda: "second" in log)
    assert log == ["first", "between", "second"]


async def test_who_raises_keeps_nobody_from_their_turn() -> None:
    """A bug in one audience or socket is the loop's to report; the others are served."""
    loop, log, reported = asyncio.get_running_loop(), list[str](), list[object]()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    turn, errors = Turn(loop), [ValueError("a feed"), ValueError("a socket")]

    def fail() -> None:
        raise errors[0]

    try:
        turn.tell(fail)
        turn.tell(says(log, "told"))
        turn.flush(Heard(log, errors[1]))
        turn.flush(Heard(log))
        await eventually(lambda: len(log) == 3)
        turn.tell(says(log, "afterwards"))
        await eventually(lambda: log == ["told", "flushed", "flushed", "afterwards"])
    finally:
        loop.set_exception_handler(None)
    assert reported == errors


async def test_all_of_a_loop_share_their_turn() -> None:
    """And another loop has its own."""
    assert this_turn() is this_turn()

    async def elsewhere() -> Turn:
        return this_turn()

    other = await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
    assert other is not this_turn()
