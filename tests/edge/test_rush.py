"""A crowd's hellos come in turns; who has been served waits for those who have not, and not for ever."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from edge import rush
from edge.rush import Rush

TURNS = 20
"""Of the loop: more than enough for whoever may go."""


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks with every turn of the loop."""
    monkeypatch.setattr(rush, "LOOK_S", 0.0)


async def test_hellos_come_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many a turn of the loop, in order; whoever else has something to do comes in between."""
    monkeypatch.setattr(rush, "HELLOS_OF_TURN", 2)
    one, turn, served = Rush(10), 0, dict[int, int]()

    async def hello(number: int) -> None:
        await one.turn()
        served[number] = turn

    waiting = [asyncio.create_task(hello(number)) for number in range(8)]
    await asyncio.sleep(0)
    waiting[4].cancel()
    for turn in range(1, TURNS):  # noqa: B007  # read by the hellos
        await asyncio.sleep(0)
    assert list(served) == [0, 1, 2, 3, 5, 6, 7]
    per_turn = Counter(served.values())
    assert max(per_turn.values()) == 2
    assert len(per_turn) == 4
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await one.turn()


async def test_where_too_many_hellos_wait_nobody_elses_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is bounded, and nobody is dropped from it."""
    monkeypatch.setattr(rush, "HELLOS_OF_TURN", 0)
    one = Rush(1)
    waiting = asyncio.create_task(one.turn())
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await one.turn()
    assert not waiting.done()
    waiting.cancel()


async def test_how_far_behind() -> None:
    """As long as the next hello has waited; not at all when none waits."""
    one, loop = Rush(10), asyncio.get_running_loop()
    assert one.behind_s(loop.time()) == 0.0
    crowd = [asyncio.create_task(one.turn()) for _ in range(rush.HELLOS_OF_TURN + 1)]
    await asyncio.sleep(0)
    assert one.behind_s(loop.time() + 5.0) >= 5.0
    await asyncio.gather(*crowd)
    assert one.behind_s(loop.time() + 5.0) == 0.0


async def test_nobody_waits_when_nobody_is_opening() -> None:
    """Outside of a rush a turn comes at once."""
    async with asyncio.timeout(30):
        await Rush(10).over()


async def test_the_served_wait_and_go_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the last welcome; who has left meanwhile stands in nobody's way."""
    monkeypatch.setattr(rush, "AT_ONCE", 2)
    one, went = Rush(10), list[int]()

    async def wait(number: int) -> None:
        await one.over()
        went.append(number)

    with one.opening():
        with one.opening():
            waiting = [asyncio.create_task(wait(number)) for number in range(6)]
            for _ in range(TURNS):
                await asyncio.sleep(0)
        waiting[0].cancel()
        for _ in range(TURNS):
            await asyncio.sleep(0)
        assert went == []
    async with asyncio.timeout(30):
        await asyncio.gather(*waiting, return_exceptions=True)
    assert went == [1, 2, 3, 4, 5]


async def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd that does not end holds nobody's list for ever."""
    monkeypatch.setattr(rush, "PATIENCE_S", 0.05)
    one = Rush(10)
    with one.opening():
        async with asyncio.timeout(30):
            await one.over()


async def test_where_too_many_wait_nobody_else_does() -> None:
    """The queue is bounded."""
    one = Rush(1)
    with one.opening():
        waiting = asyncio.create_task(one.over())
        await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await one.over()
        assert not waiting.done()
    await waiting
