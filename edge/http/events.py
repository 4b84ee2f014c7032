"""A channel's events over HTTP: pages by seq, and posting a message (P23)."""

from __future__ import annotations

import orjson
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.core import codec
from edge.core import frames as f
from edge.feed import Feed
from edge.http.asked import Asked, asked_of
from edge.http.caller import body_of, principal, visible_feed
from edge.node import Node
from shared.errors import BadRequest
from shared.ids import Seq
from shared.paging import around
from shared.wire_form import wire

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
        """`limit` events before, after or around a seq, ascending; without any of them the newest."""
        caller = principal(self._node, request)
        asked = asked_of(request)
        feed = await visible_feed(self._node, request, caller)
        low, high = _span(asked, feed.head)
        first, bodies = await self._bodies(feed, asked, low, high) if low <= high else (low, [])
        head = {"channel": feed.key.channel, "epoch": feed.epoch}
        answer = orjson.dumps(head | asked.more(first > 1, first + len(bodies) - 1 < feed.head))
        return Response(answer[:-1] + b',"events":[' + b",".join(bodies) + b"]}", media_type=JSON)

    async def post(self, request: Request) -> Response:
        """Send a message; the answer is the `ack` of the WebSocket."""
        caller = principal(self._node, request)
        key = request.headers.get("idempotency-key")
        if key is None:
            raise BadRequest("Idempotency-Key is needed: a UUIDv7 that every retry repeats")
        raw = codec.read(await body_of(self._node, request))
        command = codec.validate(
            {**raw, "type": "send", "id": key, "channel": request.path_params["channel"]}
        )
        assert isinstance(command, f.Send)
        ack = await self._node.commands.execute(caller, command)
        status = 200 if ack.duplicate else 201
        return Response(ack.model_dump_json(), status_code=status, media_type=JSON)

    async def _bodies(self, feed: Feed, asked: Asked, low: int, high: int) -> tuple[int, list[bytes]]:
        """The page, encoded as for everybody (P20), and its first seq: from the ring if that holds it,
        else from the archive, which may cut it.
        """
        if low >= feed.ring.floor:
            entries = [feed.ring.get(Seq(seq)) for seq in range(low, high + 1)]
            return low, [entry.body for entry in entries if entry is not None]
        found, _ = await self._node.archive.history(
            feed.key,
            before=Seq(high + 1),
            after=Seq(low - 1) if asked.before is None else None,
            around=None if asked.around is None else Seq(asked.around),
            limit=asked.limit,
            applied=feed.stream_seq,
        )
        return found[0].seq if found else low, [wire(recorded) for recorded in found]


def _span(asked: Asked, head: Seq) -> tuple[int, int]:
    """The first and the last seq of a page; nothing is on it if the last is lower."""
    if asked.around is not None:
        return around(min(asked.around, head), asked.limit, 1, head)
    if asked.after is not None:
        return asked.after + 1, min(asked.after + asked.limit, head)
    high = head if asked.before is None else min(asked.before - 1, head)
    return max(1, high - asked.limit + 1), high
