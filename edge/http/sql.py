"""SQL over HTTP: one SELECT over what the caller may read, the result streamed as it is read.

What fails before the first piece is a problem document. What fails later breaks the response off: a result
that arrives whole is whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Final

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from edge.core import codec
from edge.core.fields import Text
from edge.http.caller import body_of, principal
from edge.node import Node
from edge.sql import Sql
from shared.errors import BadRequest, ParleyError
from shared.sql_records import SqlFormat, SqlOpened

MEDIA_TYPES: Final[dict[SqlFormat, str]] = {
    "json": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "arrow": "application/vnd.apache.arrow.stream",
}

LOOK_S = 1.0
"""How often we see whether a client still waits for its first piece."""

_log = structlog.get_logger()


class SqlQuery(BaseModel):
    """One SELECT over events, messages, channels, members and reactions, and the form of its result.

    Without `format` the `Accept` header chooses; JSON lines if that names none of the three.
    """

    model_config = ConfigDict(extra="ignore")

    query: Text
    format: SqlFormat | None = None


class SqlRoutes:
    """The endpoint, bound to a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._sql = Sql(node.bus)
        self.routes = [Route("/v1/sql", self.query, methods=["POST"])]

    async def query(self, request: Request) -> Response:
        """Run a query as the caller."""
        caller = principal(self._node, request)
        asked = _parsed(await body_of(self._node, request))
        form = asked.format or _accepted(request.headers.get("accept", ""))
        opened = await self._sql.open(caller, asked.query, form)
        pieces = self._sql.pieces(opened)
        try:
            first = await _unless_gone(request, anext(pieces, b""))
        except BaseException:
            await self._sql.close(opened)
            raise
        return _Result(self._sql, opened, _joined(first, pieces), MEDIA_TYPES[form])


class _Result(StreamingResponse):
    """Ends the query when the client has all of it, or has gone."""

    def __init__(self, sql: Sql, opened: SqlOpened, body: AsyncIterator[bytes], media_type: str) -> None:
        super().__init__(body, media_type=media_type)
        self._sql = sql
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._sql.close(self._opened)

    async def stream_response(self, send: Send) -> None:
        """As its base does, but what fails by then ends the connection and not the response."""
        try:
            await super().stream_response(send)
        except ParleyError as error:
            _log.info("sql.broken_off", code=error.code, limit=error.limit)


async def _unless_gone(request: Request, coming: Awaitable[bytes]) -> bytes:
    """What is awaited, while the client is there. Raises `ClientDisconnect`."""
    waiting = asyncio.ensure_future(coming)
    try:
        while not (await asyncio.wait([waiting], timeout=LOOK_S))[0]:
            if await request.is_disconnected():
                raise ClientDisconnect
        return waiting.result()
    finally:
        waiting.cancel()


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def _parsed(body: bytes) -> SqlQuery:
    try:
        return SqlQuery.model_validate(codec.read(body))
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise BadRequest(f"{place}: {error.errors()[0]['msg']}") from None


def _accepted(accept: str) -> SqlFormat:
    for part in accept.split(","):
        wanted = part.partition(";")[0].strip().lower()
        for form, media_type in MEDIA_TYPES.items():
            if wanted == media_type.partition(";")[0]:
                return form
    return "json"
