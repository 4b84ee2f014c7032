"""What many ask for in one turn is one question, and everybody gets their own part of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence

import pytest

from edge.lookups import TOO_MANY, Lookups, all_below
from shared.bus import Bus, BusError, Value
from shared.errors import Unavailable
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import READS, bucket_stream
from tests.support.storing import put
from tests.support.waiting import eventually

STREAM = bucket_stream(READS)


class Counted(Bus):
    """Counts questions, and refuses some as JetStream does."""

    asked: list[Sequence[str]]
    refused_from = 1_000
    broken = False

    async def newest_values(self, stream: str, subjects: Sequence[str]) -> list[Value]:
        """The newest of each subject."""
        self.asked.append(subjects)
        if self.broken:
            raise Unavailable("away", retry_after_ms=1)
        if len(subjects) >= self.refused_from:
            raise BusError("too many", status=TOO_MANY)
        return await super().newest_values(stream, subjects)


def subject(name: str) -> str:
    return f"$KV.{READS}.lookups.{name}"


@pytest.fixture
async def counted(settings: CommonSettings) -> AsyncIterator[Counted]:
    async with Counted.connect(settings, "lookups") as bus:
        await ensure_streams(bus, settings)
        for user in range(6):
            for channel in "ab":
                await put(bus, subject(f"u{user}.{channel}"), f"{user}{channel}".encode())
        bus.asked = []
        yield bus


def lookups(bus: Bus, **options: object) -> Lookups:
    return Lookups(bus, STREAM, **{"filters_max": 4, "spawn": asyncio.create_task} | options)  # type: ignore[arg-type]


async def test_what_is_asked_at_once_is_one_question(counted: Counted) -> None:
    """Up to a number of keys; each asker gets what they asked for, also what others asked for as well."""
    reader = lookups(counted)
    wanted = [["u0.a", "u0.b"], ["u1.a", "u0.a"], ["u2.a", "u9.x"]]
    found = await asyncio.gather(*(reader.newest([subject(name) for name in names]) for names in wanted))
    assert [[stored.body for stored in part] for part in found] == [[b"0a", b"0b"], [b"1a", b"0a"], [b"2a"]]
    assert [len(asked) for asked in counted.asked] == [3, 2]


async def test_keys_of_many_users_are_told_apart(counted: Counted) -> None:
    """Of filters as well, each asker gets what is behind their own, and nothing of others."""
    reader = lookups(counted, asked_with=all_below)
    found = await asyncio.gather(*(reader.newest([subject(f"u{user}.*")]) for user in range(4)))
    assert [[stored.body for stored in part] for part in found] == [
        [f"{user}a".encode(), f"{user}b".encode()] for user in range(4)
    ]
    assert len(counted.asked) == 1


async def test_an_answer_is_not_older_than_its_question(counted: Counted) -> None:
    """Who asks while an answer is on its way gets one of their own."""
    reader = lookups(counted)
    first = asyncio.create_task(reader.newest([subject("u0.a")]))
    await eventually(lambda: bool(counted.asked))
    await put(counted, subject("u0.a"), b"newer")
    assert [stored.body for stored in await reader.newest([subject("u0.a")])] == [b"newer"]
    await first
    assert len(counted.asked) == 2


async def test_too_much_together_is_asked_one_by_one(counted: Counted) -> None:
    """One who has more than JetStream answers at once spoils it for nobody else."""
    counted.refused_from = 2
    reader = lookups(counted, asked_with=all_below)
    found = await asyncio.gather(*(reader.newest([subject(f"u{user}.*")]) for user in range(3)))
    assert [len(part) for part in found] == [2, 2, 2]


async def test_everybody_hears_that_it_failed(counted: Counted) -> None:
    """And one who has gone meanwhile takes no answer away from the others."""
    counted.broken = True
    reader = lookups(counted)
    gone, *others = [asyncio.create_task(reader.newest([subject(f"u{user}.a")])) for user in range(3)]
    await asyncio.sleep(0)
    gone.cancel()
    outcomes = await asyncio.gather(*others, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
    counted.broken = False
    assert await reader.newest([subject("u1.a")])


async def test_who_waits_ends_with_the_edge(counted: Counted) -> None:
    """An answer that will not come any more is waited for by nobody."""
    readings: list[asyncio.Task[object]] = []

    def spawn(work: Coroutine[object, object, object]) -> asyncio.Task[object]:
        readings.append(asyncio.create_task(work))
        return readings[-1]

    asker = asyncio.create_task(lookups(counted, spawn=spawn).newest([subject("u0.a")]))
    await asyncio.sleep(0)
    readings[0].cancel()
    async with asyncio.timeout(30):
        await asyncio.wait({asker})
    assert asker.cancelled()
