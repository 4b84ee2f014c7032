"""Archivers killed while they index: whatever line they die on, the index ends as the log says."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from archiver.search.index import SearchIndex
from shared.archive_files import pin
from shared.bus import Bus
from shared.erasure import Erasures, erasure_of
from shared.events import MessagePosted, encode
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from tests.archiver.test_partition import archivers, finish, publishing
from tests.support.archive import archiver_settings, created, key_of, read_logs, running, status, store
from tests.support.nats import NatsServer
from tests.support.search import ask
from tests.support.waiting import eventually

CHANNELS = [key_of(name) for name in ("tea", "rust", "go", "p_1", "d_2", "news")]
DEATHS = [
    (point, nth, is_deleted)
    for point in ("search-recording", "search-recorded")
    for nth, is_deleted in ((1, False), (3, False), (2, True), (5, False), (1, True), (4, False))
]


@pytest.mark.faults
@pytest.mark.timeout(600)
async def test_death_while_it_indexes(
    fresh_bus: Bus, fresh_nats_server: NatsServer, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """Killed before and behind a commit, with and without an index to begin with, while others write."""
    rng = random.Random(20261127)
    directory = tmp_path / "archive"
    await ensure_streams(fresh_bus, fresh_settings)
    async with running(fresh_bus, archiver_settings(fresh_settings, directory)):
        for key in CHANNELS:
            await store(fresh_bus, key, [encode(created())])
    async with archivers(fresh_nats_server, directory) as archiver:
        for point, nth, is_deleted in DEATHS:
            if is_deleted:
                for path in (directory / "cache").glob("*.search.sqlite*"):
                    path.unlink()
            await archiver.start(point, nth)
            async with publishing(fresh_bus, rng):
                assert await archiver.ended() == -signal.SIGKILL, f"{point} was not reached {nth} times"
        await finish(archiver, fresh_bus, directory)
    async with running(fresh_bus, archiver_settings(fresh_settings, directory)):
        await eventually(lambda: _indexed(fresh_bus))
    await _indexes_are_the_log(fresh_bus, directory)


async def _indexed(bus: Bus) -> bool:
    """Whether all that is in the logs can be found."""
    reports = [await status(bus, partition) for partition in range(2)]
    total = (await read_logs(bus)).total
    return sum(report.searchable or 0 for report in reports if report is not None) == total


async def _indexes_are_the_log(bus: Bus, directory: Path) -> None:
    """Each message that is not void and not erased, once; its words find it."""
    logged = await read_logs(bus)
    all_ = sorted((it for events in logged.events.values() for it in events), key=lambda it: it.stream_seq)
    erasures = Erasures(erasure for it in all_ if (erasure := erasure_of(it)) is not None)
    said = {
        (it.key.channel, it.seq): it.event.text
        for it in all_
        if it.void is None and isinstance(it.event, MessagePosted)
        if not erasures.name(it.key, it.seq, it.event.kind, it.event.author, None)
    }
    places = []
    found: set[tuple[str, int]] = set()
    for manifest in pin(directory).manifests:
        index = SearchIndex(directory / "cache" / f"p{manifest.partition:02d}.search.sqlite", manifest.epoch)
        assert index.at().stream_seq == manifest.hi
        with index.reading() as reader:
            sql = "SELECT c.channel, seq FROM docs JOIN channels c ON c.no = docs.channel WHERE NOT flags & 1"
            places += reader.execute(sql).fetchall()
        found |= {(hit.channel, hit.seq) for hit in ask(index, "☕", limit=1_000_000).hits}
        index.close()
    assert sorted(places) == sorted(said)
    assert found == {place for place, text in said.items() if "☕" in text}
