"""What edges and archivers say to one another about search.

An edge asks every partition for places first, merges them, and then asks for the texts of those it shows. The
places of a partition never carry `stream_seq`: a position is a channel and a number in it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.ids import ChannelId, Epoch, Seq, UserId, WorkspaceId

COUNT_MAX = 1_000
"""Hits are counted up to here; what is more is `capped`."""

LIMIT_MAX = 200
"""Places of one answer."""

TEXTS_MAX = 100
"""Texts of one answer: each is a snippet."""

Sort = Literal["newest", "relevant"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class SearchPlace(_Value):
    """Where a page of one partition begins: behind this message, or with it; `at_ms` is the log's time."""

    channel: ChannelId
    seq: Seq
    at_ms: int
    inclusive: bool = False


class SearchRequest(_Value):
    """The messages of one partition that a query finds and the user may read."""

    workspace: WorkspaceId
    user: UserId
    query: str
    zone: str = "UTC"
    sort: Sort = "newest"
    limit: int = Field(20, ge=1, le=LIMIT_MAX)
    after: SearchPlace | None = None
    epoch: Epoch = Epoch("")


class SearchHit(_Value):
    """A message that was found; the higher `score`, the better; None where newest come first."""

    channel: ChannelId
    seq: Seq
    at_ms: int
    score: float | None = None


class Inside(_Value):
    """An `in:` of the query, and whether it names a channel of this partition that the user may know of."""

    offset: int
    length: int
    known: bool


class SearchReply(_Value):
    """Hits in their order. `count` is None behind the first page; `capped`: there are more than that."""

    hits: tuple[SearchHit, ...]
    more: bool
    count: int | None
    capped: bool = False
    inside: tuple[Inside, ...] = ()


class TextsRequest(_Value):
    """What stands in these messages now, as far as the user may read them."""

    workspace: WorkspaceId
    user: UserId
    query: str
    zone: str = "UTC"
    places: tuple[tuple[ChannelId, Seq], ...] = Field(max_length=TEXTS_MAX)
    epoch: Epoch = Epoch("")


class Snippet(BaseModel):
    """A part of a message's text. `ranges`: from where to where it matches, in characters (code points)."""

    model_config = ConfigDict(frozen=True)

    text: str
    ranges: tuple[tuple[int, int], ...]
    cut_before: bool = False
    cut_after: bool = False


class FoundText(_Value):
    """A message that was found, as it is now; times are milliseconds, `happened_ms` of imported ones."""

    channel: ChannelId
    seq: Seq
    author: UserId
    at_ms: int
    happened_ms: int | None = None
    thread: Seq | None = None
    edited: bool = False
    snippet: Snippet


class TextsReply(_Value):
    """Those that are still there."""

    texts: tuple[FoundText, ...]
