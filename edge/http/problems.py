"""Errors over HTTP: RFC 9457 problem documents with the protocol's codes (P23)."""

from __future__ import annotations

import math

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from shared.errors import BadQuery, ParleyError

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """A refusal. `code` is stable and the same as on the WebSocket; `title` and `detail` are for people.

    `offset` and `length`: where in a search query it is wrong, in characters (Unicode code points).
    """

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    limit: str | None = None
    retry_after_ms: int | None = None
    offset: int | None = None
    length: int | None = None


def respond(error: ParleyError) -> Response:
    """The response for an operating error; 429 and 503 say when to come back."""
    problem = Problem(
        title=error.code.replace("_", " "),
        status=error.http_status,
        detail=error.message,
        code=error.code,
        limit=error.limit,
        retry_after_ms=error.retry_after_ms,
        offset=error.offset if isinstance(error, BadQuery) else None,
        length=error.length if isinstance(error, BadQuery) else None,
    )
    headers = {}
    if error.http_status in {429, 503}:
        headers["Retry-After"] = str(max(1, math.ceil((error.retry_after_ms or 1000) / 1000)))
    if error.http_status == 426:  # RFC 6455, 4.4: says what would be understood
        headers |= {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    if error.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(
        problem.model_dump_json(exclude_none=True),
        status_code=error.http_status,
        headers=headers,
        media_type=MEDIA_TYPE,
    )


async def handle(_: Request, error: Exception) -> Response:
    """Starlette's handler for `ParleyError`."""
    assert isinstance(error, ParleyError)
    return respond(error)
