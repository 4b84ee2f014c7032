"""Hits of all partitions as one list, and the cursor that names where each partition's next page begins.

Each partition gives its hits in the order of its log. They are merged by the log's time, and what one gave is
never reordered: so a cursor that names, per partition, the first hit that was not shown loses and
doubles nothing, however many hits share a time, and whatever is written meanwhile.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import heapq
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import BadRequest
from shared.ids import Partition
from shared.search import SearchHit, SearchPlace, SearchReply, Sort

CURSOR_CHARACTERS_MAX = 16_384


class Asked(NamedTuple):
    """What a page belongs to."""

    query: str
    zone: str
    sort: Sort

    @property
    def fingerprint(self) -> str:
        """Equal for equal questions."""
        parts = "".join(f"{len(part)}:{part}" for part in self)
        return hashlib.blake2b(parts.encode(errors="surrogatepass"), digest_size=6).hexdigest()


class Cursor(BaseModel):
    """Where the next page begins. Of partitions that `places` does not name, everything has been shown.

    `skip`: where hits come by relevance, so many have been shown.
    """

    model_config = ConfigDict(frozen=True)

    asked: str
    places: dict[Partition, SearchPlace] = {}
    skip: int = 0

    def text(self) -> str:
        """Opaque, and safe in a URL."""
        body = self.model_dump_json(exclude_defaults=True).encode()
        return base64.urlsafe_b64encode(body).decode().rstrip("=")


def cursor_of(text: str, asked: Asked) -> Cursor:
    """The inverse of `Cursor.text`. Raises `BadRequest` if it is none, or of another question."""
    try:
        if len(text) > CURSOR_CHARACTERS_MAX:
            raise ValueError("too long")
        body = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = Cursor.model_validate_json(body)
    except (ValueError, binascii.Error, ValidationError):
        raise BadRequest("cursor: not one that a page came with") from None
    if cursor.asked != asked.fingerprint or cursor.skip < 0:
        raise BadRequest("cursor: of another question; q, sort and tz must stay the same")
    return cursor


class Merged(NamedTuple):
    """A page: each hit with its partition, and the cursor of the next one, if there is more."""

    hits: list[tuple[Partition, SearchHit]]
    next: Cursor | None


def newest(asked: Asked, replies: Mapping[Partition, SearchReply], limit: int) -> Merged:
    """The `limit` newest, each partition's in its own order."""
    shown = dict.fromkeys(replies, 0)
    heads = [(-reply.hits[0].at_ms, partition) for partition, reply in replies.items() if reply.hits]
    heapq.heapify(heads)
    hits: list[tuple[Partition, SearchHit]] = []
    while heads and len(hits) < limit:
        _, partition = heapq.heappop(heads)
        found = replies[partition].hits
        hits.append((partition, found[shown[partition]]))
        shown[partition] += 1
        if shown[partition] < len(found):
            heapq.heappush(heads, (-found[shown[partition]].at_ms, partition))
    places = {
        partition: place
        for partition, reply in replies.items()
        if (place := _next(reply, shown[partition])) is not None
    }
    return Merged(hits, Cursor(asked=asked.fingerprint, places=places) if places else None)


def _next(reply: SearchReply, shown: int) -> SearchPlace | None:
    """Where the partition's next page begins; None if all of it has been shown."""
    if shown < len(reply.hits):
        return _place(reply.hits[shown], inclusive=True)
    return _place(reply.hits[-1], inclusive=False) if reply.more and reply.hits else None


def _place(hit: SearchHit, *, inclusive: bool) -> SearchPlace:
    return SearchPlace(channel=hit.channel, seq=hit.seq, at_ms=hit.at_ms, inclusive=inclusive)


def best(asked: Asked, replies: Mapping[Partition, SearchReply], limit: int, skip: int, most: int) -> Merged:
    """The `limit` best behind `skip`, of at most `most`."""
    found = [(partition, hit) for partition, reply in sorted(replies.items()) for hit in reply.hits]
    found.sort(key=lambda it: (-(it[1].score or 0.0), -it[1].at_ms))
    upto = min(skip + limit, most)
    has_more = upto < most and (len(found) > upto or any(reply.more for reply in replies.values()))
    return Merged(found[skip:upto], Cursor(asked=asked.fingerprint, skip=upto) if has_more else None)


def count(replies: Sequence[SearchReply], most: int) -> tuple[int, bool]:
    """How many hits there are altogether, and whether there are more than that."""
    total = sum(reply.count or 0 for reply in replies)
    return min(total, most), total > most or any(reply.capped for reply in replies)
