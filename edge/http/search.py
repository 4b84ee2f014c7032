"""Search over HTTP: messages by what they say, in all channels that the caller may read."""

from __future__ import annotations

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.core.found import Asked, cursor_of
from edge.http.caller import number, principal
from edge.node import Node
from shared.clock import rfc3339
from shared.errors import BadRequest
from shared.ids import ChannelId, Seq, UserId
from shared.search import FoundText, SearchHit, Snippet, Sort

HITS_DEFAULT = 20
HITS_MAX = 50
ZONE_DEFAULT = "UTC"
JSON = "application/json"

QUERY_HELP = (
    'Words, all of which must be there; "phrases", beginnings* and -what must not be. Operators: '
    "from:user (from:me), in:channel (an id, or a name that it has or had), has:link, has:file, "
    "has:reaction, is:thread; before: after: on: during: with a day, month or year, 2026-11-25 for example."
)


class HitView(BaseModel):
    """A message that was found, as it is now; `ts` is the log's time, `imported_at` is when it was said."""

    channel: ChannelId
    seq: Seq
    ts: str
    imported_at: str | None = None
    author: UserId
    thread: Seq | None = None
    edited: bool
    snippet: Snippet


class SearchPage(BaseModel):
    """Hits; `cursor` asks for the next page, and is missing on the last.

    `count`, on the first page only, is exact unless `capped` says that there are more.
    """

    hits: list[HitView]
    cursor: str | None = None
    count: int | None = None
    capped: bool = False


class SearchRoutes:
    """The endpoint, bound to a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.routes = [Route("/v1/search", self.search)]

    async def search(self, request: Request) -> Response:
        """One page of hits."""
        caller = principal(self._node, request)
        given = request.query_params
        asked = Asked(given.get("q", ""), given.get("tz", ZONE_DEFAULT), _sort(given.get("sort", "newest")))
        limit = number(request, "limit", default=HITS_DEFAULT, least=1, most=HITS_MAX)
        assert limit is not None
        cursor = cursor_of(given["cursor"], asked) if given.get("cursor") else None
        page = await self._node.search.page(caller, asked, limit, cursor)
        view = SearchPage(
            hits=[_view(hit, text) for hit, text in page.hits],
            cursor=page.next.text() if page.next is not None else None,
            count=page.total,
            capped=page.capped,
        )
        return Response(view.model_dump_json(exclude_none=True), media_type=JSON)


def _sort(given: str) -> Sort:
    if given == "newest":
        return "newest"
    if given == "relevant":
        return "relevant"
    raise BadRequest("sort must be newest or relevant")


def _view(hit: SearchHit, text: FoundText) -> HitView:
    happened_ms = text.happened_ms
    return HitView(
        channel=hit.channel,
        seq=hit.seq,
        ts=rfc3339(text.at_ms * 1000),
        imported_at=None if happened_ms is None else rfc3339(happened_ms * 1000),
        author=text.author,
        thread=text.thread,
        edited=text.edited,
        snippet=text.snippet,
    )
