"""When a reader joins those who answer: not before it has what the log holds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from archiver.app import Archiver
from archiver.search.api import SearchApi
from shared.bus import Bus
from shared.events import encode
from shared.health import Health
from shared.message_records import MessagesPage
from shared.records import ArchiveStatus, Failure
from shared.search import SearchReply, SearchRequest
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import partition_of
from tests.support.archive import (
    ALICE,
    WORKSPACE,
    archiver_settings,
    committed,
    created,
    key_of,
    posted,
    running,
    store,
)
from tests.support.readers import EVERYBODY, Nothing, ask, messages, reader_settings, reading
from tests.support.waiting import eventually

TEA = key_of("tea")
P = partition_of(TEA, 2)


@pytest.mark.faults
async def test_it_keeps_out_of_the_way_until_it_has_caught_up(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """One whose memory is full before the log's end, for nobody commits, is not ready and is not asked."""
    archive = tmp_path / "archive"
    writer = archiver_settings(fresh_settings, archive, archiver_partitions=str(P))
    async with running(fresh_bus, writer):
        await store(fresh_bus, TEA, [encode(created())])
        await committed(fresh_bus)
    small = reader_settings(
        fresh_settings,
        archive,
        tmp_path / "reader",
        flush_events=1,
        applied_wait_s=0.2,
        archiver_partitions=str(P),
    )
    await asyncio.gather(  # more than two batches
        *(store(fresh_bus, TEA, [encode(posted("hi")) for _ in range(60)]) for _ in range(20))
    )
    pauses = _pauses()
    health = Health()
    async with Bus.connect(fresh_settings, "reader") as bus:
        archiver = Archiver(bus, await ensure_streams(bus, small), small, health)
        starting = asyncio.create_task(archiver.run())
        await eventually(lambda: _pauses() > pauses)
        assert not health.ready
        assert isinstance(await ask(fresh_bus, EVERYBODY, P, "status", Nothing(), ArchiveStatus), Failure)
        async with reading("writer", writer):
            await eventually(lambda: health.ready, within_s=60)
        found = await ask(fresh_bus, EVERYBODY, P, "status", Nothing(), ArchiveStatus)
        assert isinstance(found, ArchiveStatus)
        assert found.applied == 1_201
        await archiver.stop()
        await starting


def _pauses() -> float:
    return REGISTRY.get_sample_value("parley_archive_pauses_total", {"partition": str(P)}) or 0.0


async def test_search_joins_when_its_index_is_there(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that has to be made anew takes its time: pages are answered meanwhile."""
    made, ready = asyncio.Event(), SearchApi.ready

    async def once_made(api: SearchApi) -> None:
        await made.wait()
        await ready(api)

    monkeypatch.setattr(SearchApi, "ready", once_made)
    archive = tmp_path / "archive"
    settings = reader_settings(fresh_settings, archive, tmp_path / "reader")
    question = SearchRequest(workspace=WORKSPACE, user=ALICE, query="hi")
    async with running(fresh_bus, archiver_settings(fresh_settings, archive)), reading("one", settings):
        last = await store(fresh_bus, TEA, [encode(created()), encode(posted("hi"))])
        assert isinstance(await messages(fresh_bus, "one", TEA, last), MessagesPage)
        assert isinstance(await ask(fresh_bus, "one", P, "search", question, SearchReply), Failure)
        made.set()

        async def finds() -> bool:
            found = await ask(fresh_bus, "one", P, "search", question, SearchReply)
            return isinstance(found, SearchReply) and [hit.seq for hit in found.hits] == [2]

        await eventually(finds)
