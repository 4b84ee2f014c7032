"""A partition's archive with a search index that follows it, without a log: written event by event."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from archiver.core.hot import NOTHING_YET
from archiver.partition import PartitionArchive
from archiver.search.feed import Feed
from archiver.search.index import SearchIndex
from archiver.threads import Threads
from shared.archive_store import open_store
from shared.envelope import StoredMessage
from shared.events import encode
from shared.ids import Epoch, Partition, StreamSeq
from shared.subjects import channel_subject
from tests.support.archive import created, key_of, posted
from tests.support.search import EPOCH

TEA, GO = key_of("tea"), key_of("go")


class Kept:
    """An archive of its own, written event by event."""

    def __init__(self, directory: Path, epoch: Epoch = EPOCH) -> None:
        self.directory = directory
        self.archive = PartitionArchive(open_store(directory), directory / "cache", Partition(0), epoch)
        self.archive.open()
        self.path = directory / "cache" / "p00.search.sqlite"

    def say(self, *texts: str, at_us: int = 1_790_000_000_000_000) -> None:
        """Messages in turns to two channels, which are created first."""
        hot = self.archive.hot
        for number, text in enumerate(texts):
            key = (TEA, GO)[number % 2]
            for missing, head in self.archive.cache.heads(hot.missing([key])).items():
                hot.load(missing, head)
            bodies = [encode(posted(text))]
            head = hot.head(key)
            if head is None or head == NOTHING_YET:
                bodies.insert(0, encode(created()))
            for body in bodies:
                self.take(channel_subject(Partition(0), key), body, at_us + hot.applied)

    def take(self, subject: str, body: bytes, at_us: int) -> None:
        """The next message of the stream."""
        seq = StreamSeq(self.archive.hot.applied + 1)
        self.archive.take([StoredMessage(subject, body, {}, seq, at_us)])

    def commit(self) -> None:
        """What is hot, to Parquet."""
        batch = self.archive.hot.cut()
        self.archive.committed(batch, self.archive.write(batch))

    @contextlib.asynccontextmanager
    async def fed(self, wait_s: float = 60.0) -> AsyncIterator[tuple[Feed, SearchIndex]]:
        """The index and its feed while the block runs."""
        threads = Threads("index", 2)
        index = SearchIndex(self.path, self.archive.epoch)
        feeding = Feed(self.archive, index, threads, wait_s)
        task = asyncio.create_task(feeding.run())
        try:
            yield feeding, index
        finally:
            task.cancel()
            await asyncio.wait([task])
            index.close()
            threads.close()

    @property
    def applied(self) -> StreamSeq:
        """The end of the log."""
        return self.archive.hot.applied
