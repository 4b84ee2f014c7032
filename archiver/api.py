"""What the archiver answers on NATS, per partition.

A request that names a position in the log is answered only once that position is applied, so "absent" means
absent up to there. Several archivers may answer one partition: each of them would say the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from pydantic import BaseModel

from archiver.access import Access
from archiver.core.hot import HotEvent
from archiver.history import History
from archiver.ingest import Ingest
from archiver.messages import Messages
from archiver.metrics import REQUESTS
from archiver.requests import parsed
from archiver.search.api import SearchApi
from archiver.threads import Threads
from shared.archive_manifest import Manifest
from shared.bus import Bus, Subscription
from shared.errors import BadRequest, Unavailable
from shared.ids import ChannelId, ChannelKey, Epoch, WorkspaceId
from shared.message_records import MessagesRequest
from shared.records import (
    ArchivedHead,
    ArchivedHeads,
    ArchivedHeadsRequest,
    ArchiveStatus,
    CountReply,
    CountRequest,
    HistoryRequest,
    IdsReply,
    IdsRequest,
    ReadableReply,
    ReadableRequest,
    known_of,
)
from shared.subjects import archive_subject

QUEUE = "archive"
REQUESTS_MAX = 256
"""Requests that one process answers at once; more are answered `unavailable`."""

_Operations = Mapping[str, Callable[[bytes], Awaitable[BaseModel]]]

IDS_MAX = 5_000
READABLE_MAX = 10_000
"""Channels in one answer: at 64 characters each they fit into a message."""


class Api:
    """Answers for one partition."""

    def __init__(
        self, ingest: Ingest, history: History, access: Access, search: SearchApi, lookups: Threads
    ) -> None:
        self._messages = Messages(ingest.archive, history, lookups)
        self._ingest = ingest
        self._access = access
        self._search = search
        self._archive = ingest.archive
        self._history = history
        self._lookups = lookups

    async def serve(self, bus: Bus) -> list[Subscription]:
        """Begin to answer all but what is asked of search. Raises `Unavailable`: then nothing is answered."""
        operations: _Operations = {
            "history": self.history,
            "messages": self.messages,
            "ids": self.ids,
            "count": self.count,
            "status": self.status,
            "heads": self.heads,
            "readable": self.readable,
        }
        begun = await self._begin(bus, operations)
        begun.append(await self._serve(bus, "rebuild", self._search.rebuild, queue=""))
        return begun

    async def serve_search(self, bus: Bus) -> list[Subscription]:
        """The same for search."""
        return await self._begin(bus, self._search.operations)

    async def _begin(self, bus: Bus, operations: _Operations) -> list[Subscription]:
        begun: list[Subscription] = []
        try:
            for operation, answer in operations.items():
                begun.append(await self._serve(bus, operation, answer))
        except Unavailable:
            for subscription in begun:
                await subscription.unsubscribe()
            raise
        return begun

    async def history(self, body: bytes) -> BaseModel:
        """A page of a channel's events."""
        request = parsed(HistoryRequest, body)
        if request.limit < 1:
            raise BadRequest("limit must be at least 1")
        self._same_epoch(request.epoch)
        await self._ingest.applied(request.applied)
        return await self._history.page(request)

    async def messages(self, body: bytes) -> BaseModel:
        """A page of a channel's messages, or of a thread's."""
        request = parsed(MessagesRequest, body)
        if request.limit < 1:
            raise BadRequest("limit must be at least 1")
        self._same_epoch(request.epoch)
        await self._ingest.applied(request.applied)
        return await self._messages.page(request)

    async def ids(self, body: bytes) -> BaseModel:
        """Where ids stand in a channel. Hot events are looked at before the cache: nothing slips between."""
        request = parsed(IdsRequest, body)
        if len(request.ids) > IDS_MAX:
            raise BadRequest(f"at most {IDS_MAX} ids in one request")
        self._same_epoch(request.epoch)
        await self._ingest.applied(request.applied)
        key = ChannelKey(request.workspace, request.channel)
        hot = [self._archive.hot.known(key, author, command) for author, command in request.ids]
        head = self._archive.hot.head(key)
        greatest = None if head is None else head.greatest
        return await self._lookups.run_together(self._known, key, request, hot, greatest)

    async def count(self, body: bytes) -> BaseModel:
        """How many messages a channel holds up to a seq."""
        request = parsed(CountRequest, body)
        self._same_epoch(request.epoch)
        await self._ingest.applied(request.applied)
        key = ChannelKey(request.workspace, request.channel)
        return CountReply(messages=await self._history.count(key, request.upto))

    async def status(self, _: bytes) -> BaseModel:
        """How far this partition is."""
        manifest = self._archive.manifest
        return ArchiveStatus(
            partition=manifest.partition,
            watermark=manifest.hi,
            applied=self._archive.hot.applied,
            segments=len(manifest.segments),
            manifest=manifest.version,
            searchable=self._search.position,
        )

    async def heads(self, body: bytes) -> BaseModel:
        """Where channels stand in Parquet: what a sequencer that has lost its checkpoints goes on from."""
        request = parsed(ArchivedHeadsRequest, body)
        self._same_epoch(request.epoch)
        await self._ingest.archived(request.upto)
        manifest = self._archive.manifest  # before the cache, which is never behind it
        after = ChannelKey(*(request.after or (WorkspaceId(""), ChannelId(""))))
        return await self._lookups.run(self._heads, after, manifest)

    async def readable(self, body: bytes) -> BaseModel:
        """Which channels a user may read now."""
        request = parsed(ReadableRequest, body)
        self._same_epoch(request.epoch)
        after = request.after or ""
        channels = await self._access.readable(request.workspace, request.user)
        chosen = sorted(channel for channel in channels if channel > after)
        return ReadableReply(channels=tuple(chosen[:READABLE_MAX]), more=len(chosen) > READABLE_MAX)

    def _heads(self, after: ChannelKey, manifest: Manifest) -> ArchivedHeads:
        found, more = self._archive.cache.heads_behind(after)
        heads = tuple(
            ArchivedHead(**key._asdict(), seq=head.seq, stream_seq=head.stream_seq, state=head.state)
            for key, head in found
        )
        return ArchivedHeads(epoch=manifest.epoch, watermark=manifest.hi, heads=heads, more=more)

    def _same_epoch(self, asked: Epoch) -> None:
        """Raises `Unavailable`: this archive's numbers and ids are of another log than the asker's."""
        if asked not in {"", self._archive.epoch}:
            raise Unavailable(f"the archive is of epoch {self._archive.epoch}", retry_after_ms=1000)

    def _known(
        self, key: ChannelKey, request: IdsRequest, hot: Sequence[HotEvent | None], greatest: str | None
    ) -> IdsReply:
        cold = self._archive.cache.known(key, request.ids)
        if greatest is None:  # the channel is not resident: all of it is in the cache
            greatest = self._archive.cache.greatest(key)
        # An id that stands twice in a log means its first event: the older one is in the cache.
        found = tuple(c or (h and known_of(h.recorded)) for c, h in zip(cold, hot, strict=True))
        return IdsReply(found=found, greatest=greatest)

    async def _serve(
        self, bus: Bus, operation: str, answer: Callable[[bytes], Awaitable[BaseModel]], queue: str = QUEUE
    ) -> Subscription:
        counted = REQUESTS.labels(operation)

        async def handle(body: bytes) -> bytes:
            counted.inc()
            return (await answer(body)).model_dump_json().encode()

        subject = archive_subject(self._archive.partition, operation)
        return await bus.serve(subject, handle, queue=queue, concurrency_max=REQUESTS_MAX)
