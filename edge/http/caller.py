"""Who calls over HTTP, at what pace, what they send, and which channel they mean."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from edge.auth import bearer
from edge.core import actions
from edge.core.principal import Principal
from edge.feed import Feed
from edge.node import Node
from edge.users import UserKey
from shared.errors import BadRequest, InvalidId, TooLarge, Unauthorized
from shared.ids import ChannelKey, channel_id


def principal(node: Node, request: Request) -> Principal:
    """The caller, who has a token in the `Authorization` header. Raises `Unauthorized`, `RateLimited`."""
    token = bearer(request.headers.get("authorization"))
    if token is None:
        raise Unauthorized("a token is needed: Authorization: Bearer …")
    caller = node.auth.verify(token)
    if not caller.may_import:
        now_s = asyncio.get_running_loop().time()
        node.user_buckets.of(UserKey(caller.workspace, caller.user), now_s).take(now_s)
    return caller


async def body_of(node: Node, request: Request) -> bytes:
    """What the caller sends. Raises `TooLarge` as soon as that is known."""
    limit = node.settings.frame_bytes_max
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"the body has more than {limit} bytes", limit="frame_bytes")
    return body


async def visible_feed(node: Node, request: Request, caller: Principal) -> Feed:
    """The channel of the path, if the caller may know of it; raises `NotFound` in the one form (P21)."""
    try:
        channel = channel_id(request.path_params["channel"])
    except InvalidId:
        raise actions.absent() from None
    feed = await node.commands.feed(ChannelKey(caller.workspace, channel))
    actions.visible(feed.state, caller)
    return feed


def number(request: Request, name: str, *, default: int | None, least: int, most: int) -> int | None:
    """An integer of the query. Raises `BadRequest`."""
    given = request.query_params.get(name)
    if given is None:
        return default
    if not (given.isascii() and given.isdecimal() and len(given) <= 16 and least <= int(given) <= most):
        raise BadRequest(f"{name} must be an integer from {least} to {most}")
    return int(given)
