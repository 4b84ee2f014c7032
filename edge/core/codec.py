"""Bytes to frames and back. Whatever arrives, reading it either succeeds or raises one `ParleyError`.

Reading has two steps, so that a refusal can still repeat the command's id (P11): `read` makes a JSON object
of the text, `validate` makes a frame of the object, and `correlation` finds the id in between.

Writing works on bytes that are encoded once and shared by all recipients (P20): a text frame from server to
client is unmasked, so its header depends only on the length and the whole frame can be shared as well.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from edge.core.fields import clean_text
from edge.core.frames import PROTOCOL_VERSION, ClientFrame, Hello
from edge.core.server_frames import Error
from shared.errors import BadFrame, BadRequest, Conflict, ParleyError, UnknownType
from shared.ids import ChannelId, CommandId, Seq

CORRELATION_CHARS_MAX = 64
BATCH_BYTES_MAX = 64 * 1024
"""Events are collected into one frame up to this size; a bigger event stands alone."""

_CLIENT: TypeAdapter[ClientFrame] = TypeAdapter(ClientFrame)
_SURROGATE = re.compile(r"\\u[dD][89abAB]|\\u[dD][c-fC-F]")
_NO_SUCH_TYPE = "union_tag_invalid"
_NOT_UNICODE = "string_unicode"
_FIN_TEXT = 0x81

PONGS = frozenset({'{"type":"pong"}', '{"type": "pong"}'})
"""How clients write it. It says nothing but that it came (P8): written like this it need not be read."""


def read(text: str | bytes) -> dict[str, object]:
    """The JSON object in a text frame. Raises `BadFrame` with the position."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        value = _tolerantly(text, error)
    if not isinstance(value, dict):
        raise BadFrame(f"a frame is one JSON object, this is {_kind(value)}")
    return value


def validate(raw: dict[str, object]) -> ClientFrame:
    """The frame that the object is. Raises `UnknownType`, `BadRequest`, `InvalidId` or `InvalidText`."""
    if not isinstance(raw.get("type"), str):  # pydantic would print it, however deep it nests
        raise BadRequest("type is missing or no string")
    try:
        return _CLIENT.validate_python(raw)
    except ValidationError as error:
        raise _explained(error, raw) from None


def parse(text: str | bytes) -> ClientFrame:
    """`read` and `validate` in one."""
    return validate(read(text))


def parse_hello(text: str) -> Hello:
    """The first frame of a session. Raises as `parse`, and `BadRequest` if it is no hello of our version."""
    frame = parse(text)
    if not isinstance(frame, Hello) or frame.version != PROTOCOL_VERSION:
        raise BadRequest(f"the first frame must be a hello of protocol version {PROTOCOL_VERSION}")
    return frame


def correlation(raw: dict[str, object]) -> str | None:
    """The id of a frame that may be invalid, for the answer to repeat; None if it has no usable one."""
    found = raw.get("id")
    if not isinstance(found, str) or not 1 <= len(found) <= CORRELATION_CHARS_MAX:
        return None
    return found if found.isprintable() else None


def encode(frame: BaseModel) -> bytes:
    """The JSON of a server frame, without the fields that are absent."""
    return frame.model_dump_json(exclude_none=True).encode()


def ack(command: CommandId, channel: ChannelId, seq: Seq, ts: str, *, duplicate: bool) -> bytes:
    """The JSON of an `Ack`, which goes out with every command: a third of what the model costs."""
    fields = {"id": command, "channel": channel, "seq": seq, "ts": ts, "duplicate": duplicate}
    return orjson.dumps({"type": "ack", **fields})


def ping(heads: Mapping[ChannelId, Seq], server_time: str) -> bytes:
    """The JSON of a `Ping` that nobody asked for: every session is sent one all the time."""
    return orjson.dumps({"type": "ping", "heads": heads, "server_time": server_time})


def refusal(error: ParleyError, correlated: str | None = None) -> Error:
    """The `error` frame that says what went wrong with a command."""
    return Error(
        id=correlated,
        code=error.code,
        message=error.message,
        retry_after_ms=error.retry_after_ms,
        limit=error.limit,
        seq=None if not isinstance(error, Conflict) or error.seq is None else Seq(error.seq),
    )


def text_frame(payload: bytes) -> bytes:
    """A whole WebSocket text frame as the server sends it: one fragment, unmasked (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((_FIN_TEXT, size)) + payload
    if size < 65536:
        return bytes((_FIN_TEXT, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_FIN_TEXT, 127)) + size.to_bytes(8, "big") + payload


def frame_events(bodies: Sequence[bytes], *, batch: bool) -> bytes:
    """Frames for these events, in order: one each, or JSON arrays where the client can read them (P1)."""
    if len(bodies) == 1:
        return text_frame(bodies[0])
    if not batch:
        return b"".join(text_frame(body) for body in bodies)
    return b"".join(text_frame(_array(group)) for group in _groups(bodies))


def _array(bodies: list[bytes]) -> bytes:
    return bodies[0] if len(bodies) == 1 else b"[" + b",".join(bodies) + b"]"


def _groups(bodies: Iterable[bytes]) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    size = 0
    for body in bodies:
        if group and size + len(body) > BATCH_BYTES_MAX:
            yield group
            group, size = [], 0
        group.append(body)
        size += len(body)
    if group:
        yield group


def _tolerantly(text: str | bytes, strict: orjson.JSONDecodeError) -> object:
    """Python's reader lets lone surrogates pass, so that `validate` can name them with their command."""
    source = text.decode(errors="replace") if isinstance(text, bytes) else text
    if _SURROGATE.search(source):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(source, parse_constant=_no_constant)
    raise BadFrame(f"not JSON at position {strict.pos}: {strict.msg}") from None


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _explained(error: ValidationError, raw: dict[str, object]) -> ParleyError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == _NO_SUCH_TYPE:
        return UnknownType(f"type {str(raw['type'])[:40]!r} is not in protocol version 1")
    if first["type"] == _NOT_UNICODE:
        for part in raw.values():
            if isinstance(part, str):
                clean_text(part)
    path = ".".join(str(part) for part in first["loc"][1:])[:120]
    printable = path.encode(errors="backslashreplace").decode()
    return BadRequest(f"{printable}: {first['msg']}" if path else str(first["msg"]))


def _kind(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")
