"""Who has been served waits for those who have not, and not for ever."""

from __future__ import annotations

import asyncio

import pytest

from edge import rush
from edge.rush import Rush

TURNS = 20
"""Of the loop: more than enough for whoever may go."""


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks with every turn of the loop."""
    monkeypatch.setattr(rush, "LOOK_S", 0.0)


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
