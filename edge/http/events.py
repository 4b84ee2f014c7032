"""A channel's events over HTTP: pages by seq, and posting a message (P23)."""

from __future__ import annotations

import orjson
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.core import codec
from edge.core import frames as f
from edge.core.fields import INTEGER_MAX
from edge.feed import Feed
from edge.http.caller import number, principal, visible_feed
from edge.node import Node
from shared.errors import BadRequest, TooLarge
from shared.events import wire
from shared.ids import Seq

PAGE_DEFAULT = 50
PAGE_MAX = 200
JSON = "application/json"


class PostedMessage(BaseModel):
    """The body of a POST: the fields of `send`; its id is the `Idempotency-Key`."""

    model_config = ConfigDict(extra="ignore")

    text: str
    thread: int | None = None
    imported: f.ImportedFrom | None = None


class EventRoutes:
    """The endpoints, bound to a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.routes = [
            Route("/v1/channels/{channel}/events", self.page),
            Route("/v1/channels/{channel}/messages", self.post, methods=["POST"]),
        ]

    async def page(self, request: Request) -> Response:
        """`limit` events before or after a seq, ascending; without either the newest."""
        caller = principal(self._node, request)
        limit = number(request, "limit", default=PAGE_DEFAULT, least=1, most=PAGE_MAX)
        before = number(request, "before", default=None, least=1, most=INTEGER_MAX)
        after = number(request, "after", default=None, least=0, most=INTEGER_MAX)
        if before is not None and after is not None:
            raise BadRequest("give before or after, not both")
        feed = await visible_feed(self._node, request, caller)
        assert limit is not None
        bodies, more = await self._bodies(feed, before, after, limit)
        head = orjson.dumps({"channel": feed.key.channel, "epoch": feed.epoch, "more": more})
        return Response(head[:-1] + b',"events":[' + b",".join(bodies) + b"]}", media_type=JSON)

    async def post(self, request: Request) -> Response:
        """Send a message; the answer is the `ack` of the WebSocket."""
        caller = principal(self._node, request)
        key = request.headers.get("idempotency-key")
        if key is None:
            raise BadRequest("Idempotency-Key is needed: a UUIDv7 that every retry repeats")
        raw = codec.read(await self._body(request))
        command = codec.validate(
            {**raw, "type": "send", "id": key, "channel": request.path_params["channel"]}
        )
        assert isinstance(command, f.Send)
        ack = await self._node.commands.execute(caller, command)
        status = 200 if ack.duplicate else 201
        return Response(ack.model_dump_json(), status_code=status, media_type=JSON)

    async def _body(self, request: Request) -> bytes:
        limit = self._node.settings.frame_bytes_max
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise TooLarge(f"the body has more than {limit} bytes", limit="frame_bytes")
        return body

    async def _bodies(
        self, feed: Feed, before: int | None, after: int | None, limit: int
    ) -> tuple[list[bytes], bool]:
        """The page, encoded as for everybody (P20): from the ring if that holds it, else from the archive."""
        head = feed.head
        if after is not None:
            low, high = after + 1, min(after + limit, head)
        else:
            high = min((before or head + 1) - 1, head)
            low = max(1, high - limit + 1)
        if low > high:
            return [], False
        if low >= feed.ring.floor:
            entries = [feed.ring.get(Seq(seq)) for seq in range(low, high + 1)]
            more = high < head if after is not None else low > 1
            return [entry.body for entry in entries if entry is not None], more
        found, more = await self._node.archive.history(
            feed.key,
            before=None if after is not None else Seq(high + 1),
            after=Seq(after) if after is not None else None,
            limit=limit,
            applied=feed.stream_seq,
        )
        return [wire(recorded) for recorded in found], more
