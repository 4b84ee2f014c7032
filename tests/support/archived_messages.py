"""A partition's archive without a log: what is added is hot, until it is committed; pages of both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from archiver.core.compaction import due
from archiver.duck import Duck
from archiver.history import History
from archiver.messages import Messages
from archiver.partition import PartitionArchive
from archiver.segment_reader import Known
from archiver.threads import Threads
from shared import events as e
from shared.archive_store import LocalStore
from shared.bus import StoredMessage
from shared.erasure import Erasures
from shared.events import Recorded, encode
from shared.ids import ChannelKey, Epoch, Partition, StreamSeq
from shared.message_records import MessagesPage, MessagesRequest
from shared.subjects import channel_subject

PARTITION = Partition(0)


class Archived:
    """Several channels in one partition."""

    def __init__(self, directory: Path, duck: Duck | None = None, cache_dir: Path | None = None) -> None:
        self.directory = directory
        self.cache_dir = cache_dir or directory / "cache"
        self.logs: dict[ChannelKey, list[Recorded]] = {}
        self.duck = duck or Duck(workers=2, memory_limit="256MB", waiting_max=64)
        self.lookups = Threads("lookup", 2)
        self.open()

    def open(self) -> None:
        """As an archiver does when it starts; what was hot is gone."""
        self.archive = self.partition()
        self.archive.open()
        self.history = History(self.archive, self.duck, self.lookups, 60, Known())
        self.messages = Messages(self.archive, self.history, self.lookups)

    def partition(self) -> PartitionArchive:
        """What is opened."""
        return PartitionArchive(LocalStore(self.directory), self.cache_dir, PARTITION, Epoch("e"))

    def add(self, key: ChannelKey, events: Iterable[e.KnownEvent]) -> None:
        """Take the log's next events."""
        hot = self.archive.hot
        for missing, head in self.archive.cache.heads(hot.missing([key])).items():
            hot.load(missing, head)
        for event in events:
            at = StreamSeq(hot.applied + 1)
            body = encode(event)
            subject = channel_subject(PARTITION, key)
            self.archive.take([StoredMessage(subject, body, {}, at, 1_790_000_000_000_000 + at)])
            self.logs.setdefault(key, []).append(hot.between(key, *[hot.head(key).seq] * 2)[0].recorded)  # type: ignore[union-attr]

    async def commit(self) -> None:
        """What is hot becomes a segment, off the loop."""
        batch = self.archive.hot.cut()
        if batch.channels:
            async with self.archive.publishing:
                self.archive.committed(batch, await asyncio.to_thread(self.archive.write, batch))

    async def merge(self) -> None:
        """As the compactor does, when it is due."""
        while runs := due(self.archive.manifest.segments):
            outputs = await asyncio.to_thread(self.archive.merge, runs, lambda: False)
            inputs = [part for run in runs for part in run.parts]
            async with self.archive.publishing:
                published = await asyncio.to_thread(self.archive.publish_merge, inputs, outputs)
                self.archive.manifest = published

    async def erase(self) -> None:
        """As the compactor does: what is to be erased leaves Parquet."""
        hi = self.archive.manifest.hi
        pending = Erasures(one for one in self.archive.erasures if one.stream_seq <= hi)
        if pending:
            found = await asyncio.to_thread(self.archive.erase, pending)
            async with self.archive.publishing:
                erased = max(one.stream_seq for one in pending)
                self.archive.erased(await asyncio.to_thread(self.archive.publish_erasures, erased, found))

    async def page(self, key: ChannelKey, **fields: object) -> MessagesPage:
        """One page."""
        request = {"workspace": key.workspace, "channel": key.channel, **fields}
        return await self.messages.page(MessagesRequest.model_validate(request))

    def close(self) -> None:
        """Close everything."""
        self.duck.close()
        self.lookups.close()
        self.archive.close()
