"""Search as the archiver runs it: an index, its feed and its answers for each partition."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from archiver.access import Access
from archiver.history import History
from archiver.partition import PartitionArchive
from archiver.read_index import ReadIndex
from archiver.search.api import SearchApi
from archiver.search.feed import Feed
from archiver.search.finder import Finder
from archiver.search.index import SearchIndex
from archiver.settings import ArchiverSettings
from archiver.threads import Threads
from shared.archive_manifest import partition_dir
from shared.archive_store import Reached

INDEX_WORKERS = 2


class Search:
    """What the partitions of one process share."""

    def __init__(self, settings: ArchiverSettings, reached: Reached) -> None:
        self._settings = settings
        self._reached = reached
        self._index_threads = Threads("index", INDEX_WORKERS)
        self._search_threads = Threads("search", settings.search_workers)

    @contextlib.asynccontextmanager
    async def of(
        self, archive: PartitionArchive, access: Access, read_index: ReadIndex, history: History
    ) -> AsyncIterator[SearchApi]:
        """The answers of a partition, whose index follows its archive within the block."""
        path = self._settings.cache_dir / f"{partition_dir(archive.partition)}.search.sqlite"
        index = await self._index_threads.run(SearchIndex, path, archive.epoch, self._reached)
        feed = Feed(archive, index, self._index_threads, self._settings.applied_wait_s)
        finder = Finder(index, self._settings.search_timeout_s)
        feeding = asyncio.create_task(feed.run())
        try:
            yield SearchApi(archive.epoch, feed, finder, access, read_index, history, self._search_threads)
        finally:
            feeding.cancel()
            await asyncio.wait([feeding])
            await self._index_threads.run(index.close)

    def close(self) -> None:
        """Wait for what runs."""
        self._search_threads.close()
        self._index_threads.close()
