"""AsyncAPI 3.0 of the WebSocket: every frame from its pydantic model, with the tables of codes."""

from __future__ import annotations

import typing
from collections.abc import Iterable

from pydantic import BaseModel

from edge.api import codes
from edge.api.schemas import Json, component_schemas, summary
from edge.core import frames as f
from edge.core import server_frames as s
from shared import events as e

CLIENT_FRAMES: tuple[type[BaseModel], ...] = typing.get_args(typing.get_args(f.ClientFrame)[0])
SERVER_FRAMES: tuple[type[BaseModel], ...] = typing.get_args(typing.get_args(s.ServerFrame)[0])
WRITING: tuple[type[BaseModel], ...] = typing.get_args(f.WritingCommand)
EVENT_KINDS: tuple[str, ...] = tuple(kind.kind for kind in e.EVENT_TYPES)

ANSWERS: dict[type[BaseModel], tuple[type[BaseModel], ...]] = {
    f.Hello: (s.Welcome, s.Channels, s.EventFrame, s.Resumed, s.Reset, s.Bye),
    f.Refresh: (s.Refreshed, s.Error, s.Bye),
    f.Pong: (),
    f.Probe: (s.Ping,),
    f.Resume: (s.EventFrame, s.Resumed, s.Reset, s.Error),
    f.TypingCommand: (),
    f.ReadCommand: (s.Read, s.Error),
    **dict.fromkeys(WRITING, (s.Ack, s.Error)),
}
"""What the server may send because of a frame; nothing for those that are never answered."""

_SESSION = "#/channels/session"

_ABOUT = """\
One WebSocket, text frames, one JSON object per frame; the server may send a JSON array of events after \
`"batch": true`. The first frame is `hello`. Unknown fields are ignored. Every event of a channel has a \
number (`seq`), one apart: a client that sees a hole holds what follows and sends `resume`. Rules: README."""


def document() -> Json:
    """The whole document."""
    schemas = component_schemas(read=CLIENT_FRAMES, written=SERVER_FRAMES)
    _name_kinds(schemas[s.EventFrame.__name__])
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Parley",
            "version": f"{f.PROTOCOL_VERSION}.0.0",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "session": {
                "address": "/v1/ws",
                "messages": {_name(frame): _message(frame) for frame in (*CLIENT_FRAMES, *SERVER_FRAMES)},
                "bindings": {"ws": {"method": "GET"}},
            }
        },
        "operations": {**_received(), "push": _pushed()},
        "components": {
            "messages": {_name(frame): _component(frame) for frame in (*CLIENT_FRAMES, *SERVER_FRAMES)},
            "schemas": schemas,
        },
        "x-close-codes": codes.close_codes(),
        "x-error-codes": codes.error_codes(),
    }


def type_of(frame: type[BaseModel]) -> str:
    """The `type` that a frame carries."""
    literal: str = typing.get_args(frame.model_fields["type"].annotation)[0]
    return literal


def _name_kinds(event: Json) -> None:
    """Say which kinds there are: the frame's model leaves that to the events."""
    properties = event["properties"]
    assert isinstance(properties, dict)
    properties["kind"]["enum"] = [*EVENT_KINDS, "void"]


def _received() -> Json:
    """One operation per frame from the client, with its answers."""
    operations: Json = {}
    for frame in CLIENT_FRAMES:
        operation: Json = {
            "action": "receive",
            "channel": {"$ref": _SESSION},
            "summary": summary(frame),
            "messages": _references([frame]),
        }
        if ANSWERS[frame]:
            operation["reply"] = {"channel": {"$ref": _SESSION}, "messages": _references(ANSWERS[frame])}
        operations[type_of(frame)] = operation
    return operations


def _pushed() -> Json:
    return {
        "action": "send",
        "channel": {"$ref": _SESSION},
        "summary": "What the server sends unasked: events, heartbeats, typing, read markers, bye.",
        "messages": _references([s.EventFrame, s.Ping, s.Typing, s.Read, s.ChannelChanged, s.Reset, s.Bye]),
    }


def _references(frames: Iterable[type[BaseModel]]) -> list[Json]:
    return [{"$ref": f"{_SESSION}/messages/{_name(frame)}"} for frame in frames]


def _message(frame: type[BaseModel]) -> Json:
    return {"$ref": f"#/components/messages/{_name(frame)}"}


def _component(frame: type[BaseModel]) -> Json:
    return {
        "name": type_of(frame),
        "title": frame.__name__,
        "summary": summary(frame),
        "payload": {"$ref": f"#/components/schemas/{frame.__name__}"},
    }


def _name(frame: type[BaseModel]) -> str:
    """Both sides have a `ping`, a `typing` and a `read`: messages are named after their models."""
    return frame.__name__
