"""Search over a whole workspace: every partition is asked at once, and all of them must answer.

First for places, which are merged, then for the texts of those that are shown: a text costs a hundred times
what a place does. If one archiver is away the answer is `unavailable`: a list that is silently shorter would
say that something was never said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

from pydantic import BaseModel

from edge.core.found import Asked, Cursor, Merged, best, count, newest
from edge.core.principal import Principal
from shared.bus import Bus
from shared.errors import BadQuery, Unavailable
from shared.failures import reply_of
from shared.ids import ChannelId, Epoch, Partition, Seq
from shared.search import (
    COUNT_MAX,
    LIMIT_MAX,
    FoundText,
    SearchHit,
    SearchReply,
    SearchRequest,
    TextsReply,
    TextsRequest,
)
from shared.subjects import archive_subject

TIMEOUT_S = 10.0

_Reply = TypeVar("_Reply", bound=BaseModel)


class Page(NamedTuple):
    """Hits with their texts; `total` is None behind the first page."""

    hits: list[tuple[SearchHit, FoundText]]
    next: Cursor | None
    total: int | None
    capped: bool


class Search:
    """The search indexes behind NATS, one per partition."""

    def __init__(self, bus: Bus, partitions: int, epoch_of: Callable[[Partition], Epoch]) -> None:
        self._bus = bus
        self._partitions = [Partition(number) for number in range(partitions)]
        self._epoch_of = epoch_of

    async def page(self, caller: Principal, asked: Asked, limit: int, cursor: Cursor | None) -> Page:
        """One page. Raises `BadQuery`, `BadRequest` or `Unavailable`."""
        replies = await self._places(caller, asked, limit, cursor)
        _check_channels(replies.values())
        if asked.sort == "newest":
            merged = newest(asked, replies, limit)
        else:
            merged = best(asked, replies, limit, cursor.skip if cursor else 0, LIMIT_MAX)
        total, capped = count(list(replies.values()), COUNT_MAX)
        texts = await self._texts(caller, asked, merged)
        hits = [
            (hit, texts[hit.channel, hit.seq])
            for _, hit in merged.hits
            if (hit.channel, hit.seq) in texts  # deleted since, or not for the caller any more
        ]
        return Page(hits, merged.next, total if cursor is None else None, capped)

    async def _places(
        self, caller: Principal, asked: Asked, limit: int, cursor: Cursor | None
    ) -> dict[Partition, SearchReply]:
        """What each partition finds that may have something to show."""
        partitions = self._partitions
        if cursor is not None and asked.sort == "newest":
            partitions = [partition for partition in partitions if partition in cursor.places]
        skip = cursor.skip if cursor is not None else 0
        requests = {
            partition: SearchRequest(
                workspace=caller.workspace,
                user=caller.user,
                query=asked.query,
                zone=asked.zone,
                sort=asked.sort,
                limit=min(limit + skip, LIMIT_MAX),
                after=cursor.places.get(partition) if cursor is not None else None,
                epoch=self._epoch_of(partition),
            )
            for partition in partitions
        }
        return await self._ask_all("search", requests, SearchReply)

    async def _texts(
        self, caller: Principal, asked: Asked, merged: Merged
    ) -> dict[tuple[ChannelId, Seq], FoundText]:
        places: dict[Partition, list[tuple[ChannelId, Seq]]] = {}
        for partition, hit in merged.hits:
            places.setdefault(partition, []).append((hit.channel, hit.seq))
        requests = {
            partition: TextsRequest(
                workspace=caller.workspace,
                user=caller.user,
                query=asked.query,
                zone=asked.zone,
                places=tuple(found),
                epoch=self._epoch_of(partition),
            )
            for partition, found in places.items()
        }
        replies = await self._ask_all("texts", requests, TextsReply)
        return {(text.channel, text.seq): text for reply in replies.values() for text in reply.texts}

    async def _ask_all(
        self, operation: str, requests: Mapping[Partition, BaseModel], reply: type[_Reply]
    ) -> dict[Partition, _Reply]:
        asking = (self._ask(partition, operation, request, reply) for partition, request in requests.items())
        answers = await asyncio.gather(*asking, return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in sorted(failures, key=lambda it: isinstance(it, Unavailable)):
            raise failure  # what the caller can mend is told first
        return {
            partition: answer
            for partition, answer in zip(requests, answers, strict=True)
            if not isinstance(answer, BaseException)
        }

    async def _ask(
        self, partition: Partition, operation: str, request: BaseModel, reply: type[_Reply]
    ) -> _Reply:
        subject = archive_subject(partition, operation)
        body = await self._bus.request(subject, request.model_dump_json().encode(), timeout_s=TIMEOUT_S)
        return reply_of(body, reply)


def _check_channels(replies: Iterable[SearchReply]) -> None:
    """Every `in:` must mean something somewhere: what may not be known is told as what is not there."""
    for same in zip(*(reply.inside for reply in replies), strict=True):
        if not any(it.known for it in same):
            raise BadQuery(
                "no such channel, or none that you may know of", offset=same[0].offset, length=same[0].length
            )
