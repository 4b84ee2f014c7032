"""What a partition answers about search: `search` says where, `texts` what stands there.

Who asks may read what they may read now, and finds whatever was acknowledged before the question: the end of
the log is asked first, then who may read, then the index up to that end.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

import apsw
import orjson
from pydantic import BaseModel

from archiver import metrics
from archiver.access import Access
from archiver.core.query import Query, parse
from archiver.core.snippet import snippet
from archiver.history import History
from archiver.read_index import ReadIndex
from archiver.requests import M, parsed
from archiver.search.feed import DAMAGE, Feed
from archiver.search.finder import Finder, Written
from archiver.search.plan import Reader
from archiver.threads import Threads
from shared.errors import Unavailable
from shared.ids import ChannelId, Epoch, Seq, StreamSeq, UserId, WorkspaceId
from shared.records import HistoryRequest, RebuildReply, RebuildRequest
from shared.search import FoundText, SearchReply, SearchRequest, TextsReply, TextsRequest

TEXTS_AT_ONCE = 4
"""Of one question: two threads read, and others ask, too."""

T = TypeVar("T")


class SearchApi:
    """Answers for one partition."""

    def __init__(
        self,
        epoch: Epoch,
        feed: Feed,
        finder: Finder,
        access: Access,
        index: ReadIndex,
        history: History,
        threads: Threads,
    ) -> None:
        self._instance = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._epoch = epoch
        self._feed = feed
        self._finder = finder
        self._access = access
        self._index = index
        self._history = history
        self._threads = threads
        self.operations: Mapping[str, Callable[[bytes], Awaitable[BaseModel]]] = {
            "search": self.search,
            "texts": self.texts,
        }

    @property
    def position(self) -> StreamSeq:
        """Everything up to here can be found."""
        return self._feed.position

    async def ready(self) -> None:
        """Wait until all that the log holds now can be found. Raises `Unavailable` if that takes longer."""
        await self._feed.reaches(await self._index.now())

    async def rebuild(self, body: bytes) -> RebuildReply:
        """Begin to make the index anew, if that is news."""
        request = parsed(RebuildRequest, body)
        found = self._feed.rebuild(request.run)
        return RebuildReply(instance=self._instance, searchable=found, applied=self._feed.applied)

    async def search(self, body: bytes) -> SearchReply:
        """Where a query is met, and how often."""
        request = self._parsed(SearchRequest, body)
        query = parse(request.query, request.zone)
        upto, reader = await self._reader(request.workspace, request.user)
        if request.sort == "newest":
            ask = partial(self._finder.newest, query, reader, upto, request.limit, request.after)
        else:
            ask = partial(self._finder.relevant, query, reader, upto, request.limit)
        began_s = time.monotonic()
        reply = await self._asked(ask)
        metrics.SEARCH_SECONDS.labels(request.sort).observe(time.monotonic() - began_s)
        return reply

    async def texts(self, body: bytes) -> TextsReply:
        """What stands in messages now; those that are gone, or not for this user, are left out."""
        request = self._parsed(TextsRequest, body)
        query = parse(request.query, request.zone)
        _, reader = await self._reader(request.workspace, request.user)
        places = [place for place in request.places if place[0] in reader.readable]
        written = await self._asked(partial(self._finder.written, request.workspace, places))
        left = [place for place in places if place in written]
        found: list[FoundText | None] = []
        while left:
            some, left = left[:TEXTS_AT_ONCE], left[TEXTS_AT_ONCE:]
            asked = (self._text(request.workspace, place, written[place], query) for place in some)
            found += await asyncio.gather(*asked)
        return TextsReply(texts=tuple(it for it in found if it is not None))

    async def _reader(self, workspace: WorkspaceId, user: UserId) -> tuple[StreamSeq, Reader]:
        """In this order: whoever was removed before the end of the log is not shown what follows."""
        upto = await self._index.now()
        readable = await self._access.readable(workspace, user)
        await self._feed.reaches(upto)
        return upto, Reader(workspace, user, readable)

    async def _asked(self, ask: Callable[[], T]) -> T:
        """Raises `Unavailable` if the index cannot answer; one that is damaged is made anew."""
        try:
            return await self._threads.run(ask)
        except apsw.Error as error:
            if isinstance(error, DAMAGE):
                self._feed.distrust()
            raise Unavailable(f"the search index does not answer: {error}", retry_after_ms=2000) from error

    async def _text(
        self, workspace: WorkspaceId, place: tuple[ChannelId, Seq], written: Written, query: Query
    ) -> FoundText | None:
        channel, seq = place
        request = HistoryRequest(
            workspace=workspace, channel=channel, before=Seq(written.text_seq + 1), limit=1
        )
        events = (await self._history.page(request)).events
        if not events or events[0].seq != written.text_seq:
            return None
        text = orjson.loads(events[0].body).get("text")
        if not isinstance(text, str):  # erased meanwhile
            return None
        return FoundText(
            channel=channel,
            seq=seq,
            author=written.author,
            at_ms=written.at_ms,
            happened_ms=written.happened_ms,
            thread=written.thread,
            edited=written.text_seq != seq,
            snippet=await self._threads.run(snippet, text, query.wanted),
        )

    def _parsed(self, model: type[M], body: bytes) -> M:
        request = parsed(model, body)
        epoch = getattr(request, "epoch", "")
        if epoch not in {"", self._epoch}:
            raise Unavailable(f"the archive is of epoch {self._epoch}", retry_after_ms=1000)
        return request
