"""`parley search --rebuild` against running archivers: all indexes are made anew, visibly."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import apsw
import pytest
from rich.console import Console

from infra.cli import search_rebuild
from infra.cli.search import search
from infra.cli.search_rebuild import Rebuild, rebuilt
from shared.bus import Bus
from shared.errors import BadRequest, Unavailable
from shared.events import encode
from shared.ids import ChannelKey, Partition, StreamSeq
from shared.records import RebuildReply
from shared.search import SearchReply, SearchRequest
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import archive_subject, partition_of
from tests.support.archive import ALICE, archiver_settings, created, key_of, posted, running, store
from tests.support.waiting import eventually

CHANNELS = [key_of(f"room{number}") for number in range(6)]


def said(path: Path, sql: str) -> int:
    """One number of a file, or none."""
    with contextlib.closing(apsw.Connection(str(path))) as index:
        return index.execute(sql).get or 0


async def count(bus: Bus, key: ChannelKey) -> int:
    """How many messages of a channel are found."""
    request = SearchRequest.model_validate(
        {"workspace": key.workspace, "user": ALICE, "query": f"cup in:{key.channel}"}
    )
    subject = archive_subject(partition_of(key, 2), "search")
    body = await bus.request(subject, request.model_dump_json().encode(), timeout_s=60)
    return SearchReply.model_validate_json(body).count


async def test_all_indexes_are_made_anew(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """Those of two archivers and of a reader of both partitions; what was missing is found again."""
    archive = tmp_path / "archive"
    common = {"flush_interval_s": 0.5, "applied_wait_s": 30.0}
    keepers = [
        archiver_settings(fresh_settings, archive, archiver_partitions=str(number), **common)
        for number in range(2)
    ]
    own = tmp_path / "reader"
    reader = archiver_settings(fresh_settings, archive, archiver_reader=True, archive_cache=own, **common)
    async with running(fresh_bus, keepers[0]), running(fresh_bus, keepers[1]), running(fresh_bus, reader):
        for key in CHANNELS:
            await store(fresh_bus, key, [encode(created()), *(encode(posted("cup")) for _ in range(5))])
        assert [await count(fresh_bus, key) for key in CHANNELS] == [5] * 6
        paths = [*archive.glob("cache/*.search.sqlite"), *own.glob("*.search.sqlite")]
        assert len(paths) == 4
        await eventually(lambda: sum(said(path, "SELECT count(*) FROM docs") for path in paths) == 2 * 30)
        for path in paths:
            said(path, "DELETE FROM words")
        assert [await count(fresh_bus, key) for key in CHANNELS] == [0] * 6
        console = Console(force_terminal=True, width=100)
        with console.capture() as shown:
            made = await asyncio.wait_for(rebuilt(fresh_bus, 2, console), 120)
        assert made == 4
        assert "4 indexes" in shown.get()
        assert "100%" in shown.get()
        for _ in range(4):  # whoever is asked
            assert [await count(fresh_bus, key) for key in CHANNELS] == [5] * 6


async def test_nobody_is_there(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partition for which nobody answers is named."""
    monkeypatch.setattr(search_rebuild, "SILENCE_S", 3.0)
    await ensure_streams(fresh_bus, fresh_settings)
    settings = archiver_settings(fresh_settings, tmp_path / "archive", archiver_partitions="0")
    async with running(fresh_bus, settings):
        with pytest.raises(Unavailable, match="partition 1"):
            await asyncio.wait_for(rebuilt(fresh_bus, 2, Console(quiet=True)), 60)


def test_it_ends_where_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said meanwhile is none of the run's; who falls silent before its end is named."""
    run = Rebuild(1)
    assert not run.is_over
    for instance, searchable, applied in (("a", 0, 10), ("b", 0, 20), ("a", 15, 40), ("b", 10, 40)):
        reply = RebuildReply(instance=instance, searchable=StreamSeq(searchable), applied=StreamSeq(applied))
        run.hear(Partition(0), reply)
    assert run.events == (20, 30)
    assert not run.is_over
    monkeypatch.setattr(search_rebuild, "SILENCE_S", -1.0)
    with pytest.raises(Unavailable, match="b does not answer"):
        _ = run.is_over
    run.hear(Partition(0), RebuildReply(instance="b", searchable=StreamSeq(20), applied=StreamSeq(40)))
    assert run.is_over


def test_it_is_one_or_the_other() -> None:
    """A query, or the rebuild."""
    with pytest.raises(BadRequest, match="no query"):
        search("cup", rebuild=True)
    with pytest.raises(BadRequest, match="QUERY"):
        search()
