"""A read index covers what was acknowledged before it was asked for; who waits at once shares a question."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from archiver.ingest import Ingest
from archiver.read_index import ReadIndex
from shared.bus import Bus
from shared.errors import Unavailable
from shared.events import encode
from shared.ids import StreamSeq
from shared.settings import CommonSettings
from shared.subjects import partition_of
from tests.support.archive import archiver_settings, created, key_of, posted, running, store
from tests.support.waiting import eventually

TEA = key_of("tea")


async def test_now_covers_what_was_acknowledged(bus: Bus, settings: CommonSettings, tmp_path: Path) -> None:
    """Whoever asks after an acknowledgement gets its position or a later one, with many asking meanwhile."""
    async with running(bus, archiver_settings(settings, tmp_path / "archive")) as service:
        ingest = the_ingest(service.archiver._ingests)
        index = ReadIndex(bus, ingest)
        await store(bus, TEA, [encode(created())])

        async def one(number: int) -> None:
            acknowledged = await store(bus, TEA, [encode(posted(str(number)))])
            assert await index.now() >= acknowledged
            assert ingest.archive.hot.applied >= acknowledged

        async with asyncio.TaskGroup() as group:
            for number in range(60):
                group.create_task(one(number))


async def test_who_waits_shares_a_question(
    bus: Bus, settings: CommonSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many at once, the first question answers all who came before it was sent, and one more the rest."""
    async with (
        running(bus, archiver_settings(settings, tmp_path / "archive")) as service,
        Bus.connect(settings, "asking") as own,  # the archiver asks, too
    ):
        asked: list[str] = []
        confirmed_end = own.confirmed_end

        async def counted(stream: str) -> StreamSeq:
            asked.append(stream)
            return await confirmed_end(stream)

        monkeypatch.setattr(own, "confirmed_end", counted)
        index = ReadIndex(own, the_ingest(service.archiver._ingests))
        first = [asyncio.create_task(index.now()) for _ in range(20)]
        await eventually(lambda: bool(asked), every_s=0)
        second = [asyncio.create_task(index.now()) for _ in range(20)]
        await asyncio.gather(*first, *second)
        assert len(asked) == 2


async def test_a_failed_question_is_asked_again(
    bus: Bus, settings: CommonSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever shared it hears that it failed; whoever asks then is answered."""
    async with running(bus, archiver_settings(settings, tmp_path / "archive")) as service:
        index = ReadIndex(bus, the_ingest(service.archiver._ingests))

        async def refuses(_: str) -> StreamSeq:
            raise Unavailable("no leader")

        with monkeypatch.context() as patched:
            patched.setattr(bus, "confirmed_end", refuses)
            outcomes = await asyncio.gather(*(index.now() for _ in range(3)), return_exceptions=True)
            assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
        position = await store(bus, TEA, [encode(created())])
        assert await index.now() >= position


def the_ingest(ingests: list[Ingest]) -> Ingest:
    """That of the partition of the channel of these tests."""
    return next(one for one in ingests if one.archive.partition == partition_of(TEA, 2))
