"""Queries are bounded: in time, in number, and a query that was stopped leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from archiver.duck import Duck, FilesGone
from shared.errors import Unavailable

ENDLESS = "SELECT count(*) FROM range(100000000000) a"


@pytest.fixture
def duck() -> Iterator[Duck]:
    """Two workers, room for four queries."""
    made = Duck(workers=2, memory_limit="256MB", waiting_max=4)
    yield made
    made.close()


async def test_rows_come_back(duck: Duck) -> None:
    """Parameters go in by name, rows come out, many at once."""
    sql = "SELECT $a, x FROM unnest($b) t(x)"
    for _ in range(5):
        found = await asyncio.gather(
            *(duck.rows(sql, {"a": number, "b": [1, 2]}, timeout_s=30) for number in range(4))
        )
        assert found == [[(number, 1), (number, 2)] for number in range(4)]


async def test_a_query_out_of_time_is_interrupted(duck: Duck) -> None:
    """It is answered unavailable soon after its time, and its thread is free again."""
    async with asyncio.timeout(30):
        for _ in range(3):
            with pytest.raises(Unavailable):
                await duck.rows(ENDLESS, {}, timeout_s=0.1)
    assert await duck.rows("SELECT 1", {}, timeout_s=30) == [(1,)]


async def test_queries_that_wait_are_bounded(duck: Duck) -> None:
    """More than so many are refused at once; one that waited in vain never runs."""
    running = [asyncio.create_task(duck.rows(ENDLESS, {}, timeout_s=0.5)) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="too many"):
        await duck.rows("SELECT 1", {}, timeout_s=30)
    results = await asyncio.gather(*running, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 4
    assert await duck.rows("SELECT 1", {}, timeout_s=30) == [(1,)]


async def test_a_cancelled_caller_stops_its_query(duck: Duck) -> None:
    """Nobody waits for it: it is interrupted like one out of time."""
    tasks = [asyncio.create_task(duck.rows(ENDLESS, {}, timeout_s=60)) for _ in range(2)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await duck.rows("SELECT 1", {}, timeout_s=30) == [(1,)]


async def test_missing_files_are_told_apart(duck: Duck) -> None:
    """A file that is gone is not a wrong query: the caller may ask again with newer files."""
    with pytest.raises(FilesGone):
        await duck.rows("SELECT * FROM read_parquet($f)", {"f": ["/nowhere/a.parquet"]}, timeout_s=30)
