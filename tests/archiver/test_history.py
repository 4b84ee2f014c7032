"""Pages while everything moves: commits, and files that are replaced under a reader."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from archiver.core.manifest import claimed
from archiver.duck import Duck, T
from archiver.history import History
from archiver.partition import PartitionArchive
from archiver.segment_reader import Known
from archiver.threads import Threads
from shared.archive_store import LocalStore
from shared.errors import Unavailable
from shared.events import encode
from shared.ids import Epoch, Partition, Seq, StreamSeq
from shared.records import HistoryRequest
from tests.support.archive import created, key_of, posted

TEA = key_of("tea")


class Reading:
    """A partition's archive with a history over it, without a log."""

    def __init__(self, directory: Path, duck: Duck | None = None) -> None:
        self.archive = PartitionArchive(LocalStore(directory), directory / "cache", Partition(0), Epoch("e"))
        self.archive.open()
        self.lookups = Threads("lookup", 2)
        self.duck = duck or Duck(workers=2, memory_limit="256MB", waiting_max=64)
        self.history = History(self.archive, self.duck, self.lookups, 10, Known())
        self.events = 0

    def add(self, count: int) -> None:
        """More events of one channel."""
        hot = self.archive.hot
        for missing in hot.missing([TEA]):
            hot.load(missing, self.archive.cache.heads([missing])[missing])
        for _ in range(count):
            body = encode(posted(str(self.events)) if self.events else created())
            hot.add(TEA, StreamSeq(hot.applied + 1), 5, body)
            self.events += 1

    async def commit(self) -> None:
        """One commit, off the loop as in the real one."""
        batch = self.archive.hot.cut()
        self.archive.committed(batch, await asyncio.to_thread(self.archive.write, batch))

    async def seqs(self, **fields: int) -> list[int]:
        """The seqs of a page."""
        request = HistoryRequest.model_validate(
            {"workspace": TEA.workspace, "channel": TEA.channel, **fields}
        )
        return [event.seq for event in (await self.history.page(request)).events]

    def close(self) -> None:
        """Close everything."""
        self.duck.close()
        self.lookups.close()
        self.archive.close()


class Replacing(Duck):
    """Threads beside which files are replaced just when they begin to read."""

    began: Callable[[], None]

    async def read(self, function: Callable[[], T], *, timeout_s: float) -> T:
        self.began()
        return await super().read(function, timeout_s=timeout_s)


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    """An empty archive."""
    return Reading(tmp_path / "archive")


async def test_pages_stay_whole_while_events_are_archived(reading: Reading) -> None:
    """However commits and pages interleave: no hole, no event twice, and heads never go back."""
    ended = asyncio.Event()
    reading.add(1)

    async def read() -> int:
        pages, head = 0, 0
        while not ended.is_set():
            known = reading.events
            newest = await reading.seqs(limit=40)
            assert newest == list(range(newest[0], newest[-1] + 1))
            assert newest[-1] >= max(head, known)
            assert len(newest) == min(40, newest[-1])
            head = newest[-1]
            upto = await reading.history.count(TEA, Seq(max(1, head - 20)))
            assert upto == max(1, head - 20) - 1
            pages += 1
        return pages

    readers = [asyncio.create_task(read()) for _ in range(4)]
    for _ in range(25):
        reading.add(13)
        committing = asyncio.create_task(reading.commit())
        await asyncio.sleep(0)
        reading.add(5)
        await committing
    ended.set()
    assert all(pages > 3 for pages in await asyncio.gather(*readers))
    reading.close()


async def test_replaced_files_are_looked_up_again(tmp_path: Path) -> None:
    """If the pinned files are gone, the newest manifest names those that took their place."""
    duck = Replacing(workers=1, memory_limit="256MB", waiting_max=4)
    reading = Reading(tmp_path / "archive", duck)
    reading.add(30)
    await reading.commit()
    old = reading.archive.manifest.segments[0]
    moved = old.model_copy(update={"path": old.path.replace(".parquet", "x.parquet")})
    data = tmp_path / "archive" / "p00" / "data"
    (data / old.path).rename(data / moved.path)
    replaced = claimed(reading.archive.manifest, "w", 1).model_copy(update={"segments": (moved,)})
    duck.began = lambda: setattr(reading.archive, "manifest", replaced)
    assert await reading.seqs(limit=5) == [26, 27, 28, 29, 30]
    gone = moved.model_copy(update={"path": old.path.replace(".parquet", "y.parquet")})
    duck.began = lambda: None
    reading.archive.manifest = replaced.model_copy(update={"segments": (gone,)})
    shutil.rmtree(data)
    with pytest.raises(Unavailable, match="missing"):
        await reading.seqs(limit=5)
    reading.close()


async def test_what_a_manifest_names_no_more_is_forgotten(tmp_path: Path) -> None:
    """With the manifest that replaces a file its row groups and its footer leave memory, asked for or not."""
    reading = Reading(tmp_path / "archive", Duck(workers=1, memory_limit="256MB", waiting_max=4))
    reading.add(30)
    await reading.commit()
    assert await reading.seqs(limit=2) == [29, 30]
    known = reading.history._segments._known
    assert known.groups.size > 0
    assert list(known.footers)
    old = reading.archive.manifest.segments[0]
    other = old.model_copy(update={"path": old.path.replace(".parquet", "x.parquet")})
    reading.archive.manifest = claimed(reading.archive.manifest, "w", 1).model_copy(
        update={"segments": (other,)}
    )
    assert known.groups.size == 0
    assert not list(known.footers)
