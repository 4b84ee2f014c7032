"""OpenAPI 3.1 of the HTTP routes: bodies from their models, parameters and statuses from the table below."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel

from edge.api import codes
from edge.api.schemas import Json, component_schemas
from edge.core import frames as f
from edge.core.fields import INTEGER_MAX
from edge.core.server_frames import Ack, EventFrame
from edge.http.asked import PAGE_DEFAULT, PAGE_MAX
from edge.http.channels import LIST_MAX, MEMBERS_MAX, ChannelList, ChannelView, MemberList
from edge.http.events import PostedMessage
from edge.http.messages import MessagePage
from edge.http.problems import MEDIA_TYPE, Problem
from edge.http.search import HITS_DEFAULT, HITS_MAX, QUERY_HELP, SearchPage
from edge.http.sql import SqlQuery
from shared.ids import ChannelId, Epoch


class EventPage(BaseModel):
    """Events of a channel in ascending order, each the same bytes as on the WebSocket (P20).

    `more`: there is more in the direction that was asked for; the other two say it for each.
    """

    channel: ChannelId
    epoch: Epoch
    more: bool
    more_before: bool
    more_after: bool
    events: list[EventFrame]


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table. `answers`: status to its model, or to a media type where there is none."""

    path: str
    summary: str
    answers: dict[int, type[BaseModel] | str]
    parameters: tuple[Json, ...] = ()
    body: type[BaseModel] | None = None
    method: str = "get"
    open: bool = False


def _query(name: str, meaning: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "required": False, "description": meaning, "schema": schema}


def _limit(default: int, most: int) -> Json:
    schema: Json = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return _query("limit", "The most that one page holds.", schema)


_SEQ: Json = {"type": "integer", "minimum": 0, "maximum": INTEGER_MAX}
_CHANNEL: Json = {
    "name": "channel",
    "in": "path",
    "required": True,
    "description": "The channel's id.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
}
_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "The command's id: a UUIDv7 that every retry repeats (P12).",
    "schema": {"type": "string", "format": "uuid"},
}
_PAGE = (
    _query("before", "Only those with a lower number.", _SEQ),
    _query("after", "Only those with a higher number; not together with before.", _SEQ),
    _query("around", "Half of them before this number; not together with before or after.", _SEQ),
    _limit(PAGE_DEFAULT, PAGE_MAX),
)

OPERATIONS = (
    Operation(
        "/v1/channels",
        "The caller's channels and the public ones of the workspace, by id.",
        {200: ChannelList},
        (_query("after", "The last id of the page before.", {"type": "string"}), _limit(100, LIST_MAX)),
    ),
    Operation("/v1/channels/{channel}", "One channel.", {200: ChannelView}, (_CHANNEL,)),
    Operation(
        "/v1/channels/{channel}/members",
        "The members of a channel, by id.",
        {200: MemberList},
        (
            _CHANNEL,
            _query("after", "The last user of the page before.", {"type": "string"}),
            _limit(100, MEMBERS_MAX),
        ),
    ),
    Operation(
        "/v1/channels/{channel}/events",
        "Events before, after or around a number; without any of these the newest.",
        {200: EventPage},
        (_CHANNEL, *_PAGE),
    ),
    Operation(
        "/v1/channels/{channel}/messages",
        "Post a message: 201 when it is recorded, 200 when it already was.",
        {201: Ack, 200: Ack},
        (_CHANNEL, _KEY),
        body=PostedMessage,
        method="post",
    ),
    Operation(
        "/v1/channels/{channel}/messages",
        "Messages as they are now, before, after or around a number; without any of these the newest.",
        {200: MessagePage},
        (_CHANNEL, *_PAGE),
    ),
    Operation(
        "/v1/channels/{channel}/threads/{seq}",
        "A message and the replies to it, before, after or around a number; without any the newest.",
        {200: MessagePage},
        (
            _CHANNEL,
            {
                "name": "seq",
                "in": "path",
                "required": True,
                "description": "The number of the message that is answered.",
                "schema": {"type": "integer", "minimum": 1, "maximum": INTEGER_MAX},
            },
            *_PAGE,
        ),
    ),
    Operation(
        "/v1/search",
        "Messages by what they say, in all channels that the caller may read.",
        {200: SearchPage},
        (
            _query("q", QUERY_HELP, {"type": "string", "minLength": 1}) | {"required": True},
            _query(
                "sort",
                "The newest first, or the best of the newest.",
                {"enum": ["newest", "relevant"], "default": "newest"},
            ),
            _limit(HITS_DEFAULT, HITS_MAX),
            _query(
                "cursor",
                "From the page before; the rest of the question must be the same.",
                {"type": "string"},
            ),
            _query("tz", "Whose days the dates mean: an IANA name.", {"type": "string", "default": "UTC"}),
        ),
    ),
    Operation(
        "/v1/sql",
        "Run one SELECT over what the caller may read. What fails while the result is sent breaks it off.",
        {200: "application/x-ndjson"},
        body=SqlQuery,
        method="post",
    ),
    Operation("/healthz", "Whether the process is alive.", {200: "application/json"}, open=True),
    Operation(
        "/readyz",
        "Whether it takes work: 503 while it starts, drains or lacks JetStream.",
        {200: "application/json", 503: "application/json"},
        open=True,
    ),
    Operation("/metrics", "Metrics for Prometheus.", {200: "text/plain"}, open=True),
    Operation("/v1/asyncapi.json", "The WebSocket's document.", {200: "application/json"}, open=True),
    Operation("/v1/openapi.json", "This document.", {200: "application/json"}, open=True),
)


def document() -> Json:
    """The whole document."""
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Parley",
            "version": f"{f.PROTOCOL_VERSION}.0.0",
            "description": "Channels and history by number. Live events, and all other commands, go over the "
            "WebSocket: see /v1/asyncapi.json. Errors are problem documents (RFC 9457) with the same codes.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": component_schemas(read=[PostedMessage, SqlQuery], written=list(_answers())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "security": [{"token": []}],
        "x-error-codes": codes.error_codes(),
    }


def _answers() -> Iterable[type[BaseModel]]:
    yield Problem
    for operation in OPERATIONS:
        yield from (model for model in operation.answers.values() if isinstance(model, type))


def _described(operation: Operation) -> Json:
    responses: Json = {str(status): _response(model) for status, model in operation.answers.items()}
    described: Json = {"summary": operation.summary, "responses": responses}
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    if operation.open:
        described["security"] = []
    else:
        schema = {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}
        responses["default"] = {"description": "A refusal, by code.", "content": {MEDIA_TYPE: schema}}
    return described


def _response(model: type[BaseModel] | str) -> Json:
    meaning = "As described." if isinstance(model, str) else " ".join((model.__doc__ or "").split())
    return {"description": meaning, "content": _content(model)}


def _content(model: type[BaseModel] | str) -> Json:
    if isinstance(model, str):
        return {model: {}}
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
