"""One row of the archive and the event that it holds: there and back without loss.

What people query has a column of its own; the rest of an event stands in `extras` as JSON. A body that
the columns cannot give back byte for byte (another encoder, an unknown field, no event at all) stands in
`extras` whole, as `body`, or as `body64` when it is not UTF-8; the columns then hold what could be read.
"""

from __future__ import annotations

import base64
import re
from typing import NamedTuple

import orjson

from shared.events import MessagePosted, Recorded, Unreadable, decode, encode
from shared.ids import ChannelId, ChannelKey, CommandId, Seq, StreamSeq, UserId, WorkspaceId

_COLUMN_FIELDS = ("kind", "author", "text", "ref", "thread", "id")
_IMPLIED_FIELDS = frozenset((*_COLUMN_FIELDS, "v"))
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_INT64 = range(-(2**63), 2**63)


class Row(NamedTuple):
    """The columns of `events` in the order of the Parquet files; `ts_us` is the log's time."""

    workspace: str
    channel: str
    seq: int
    kind: str
    author: str
    ts_us: int
    text: str | None
    ref: int | None
    thread: int | None
    id: str | None
    void: str | None
    extras: str | None
    stream_seq: int


ROW_SQL = (
    "workspace, channel, seq, kind, author, epoch_us(ts), text, ref, thread, id::VARCHAR, void, extras,"
    " stream_seq"
)
"""What to select from `events` so that each result is a `Row`."""


def row_of(recorded: Recorded, body: bytes) -> Row:
    """The row of an event, given the body under which the log stores it."""
    event = recorded.event
    if isinstance(event, MessagePosted) and event.imported is None and encode(event) == body:
        return _posted(recorded, event)
    canonical = b"{}" if isinstance(event, Unreadable) else encode(event)
    fields: dict[str, object] = orjson.loads(canonical)
    ref, thread, id_ = _int64(fields.get("ref")), _int64(fields.get("thread")), _uuid(event.id)
    if canonical == body and id_ and ref == fields.get("ref") and thread == fields.get("thread"):
        extras = {name: value for name, value in fields.items() if name not in _IMPLIED_FIELDS}
    else:
        extras = _whole(body)
    return Row(
        *recorded.key,
        recorded.seq,
        event.kind,
        event.author,
        recorded.at_us,
        text=_text(fields.get("text")),
        ref=ref,
        thread=thread,
        id=id_,
        void=recorded.void,
        extras=orjson.dumps(extras).decode() if extras else None,
        stream_seq=recorded.stream_seq,
    )


def _posted(recorded: Recorded, event: MessagePosted) -> Row:
    """Most rows: what `row_of` would make of it, without reading its body again."""
    id_, extras = _uuid(event.id), None
    if id_ is None:
        extras = orjson.dumps(_whole(encode(event))).decode()
    elif event.erased:
        extras = '{"erased":true}'
    key, void, at = recorded.key, recorded.void, recorded.stream_seq
    return Row(
        *key, recorded.seq, event.kind, event.author, recorded.at_us,
        event.text, None, event.thread, id_, void, extras, at,
    )  # fmt: skip


def body_of(row: Row) -> bytes:
    """The body that the log stores for this row, byte for byte."""
    if row.kind == "message.posted" and row.extras is None and row.id and row.text is not None:  # most rows
        thread = None if row.thread is None else Seq(row.thread)
        message = MessagePosted(id=CommandId(row.id), author=UserId(row.author), text=row.text, thread=thread)
        return encode(message)
    extras: dict[str, object] = orjson.loads(row.extras) if row.extras else {}
    if "body64" in extras:
        return base64.b64decode(str(extras["body64"]))
    if "body" in extras:
        return str(extras["body"]).encode()
    columns = {name: value for name in _COLUMN_FIELDS if (value := getattr(row, name)) is not None}
    event = decode(orjson.dumps(columns | extras))
    assert not isinstance(event, Unreadable), f"row {row.channel}/{row.seq} does not hold its event"
    return encode(event)


def recorded_of(row: Row) -> Recorded:
    """The event of a row at its position."""
    return Recorded(
        key=ChannelKey(WorkspaceId(row.workspace), ChannelId(row.channel)),
        seq=Seq(row.seq),
        stream_seq=StreamSeq(row.stream_seq),
        at_us=row.ts_us,
        event=decode(body_of(row)),
        void=row.void,
    )


def body_text(body: bytes) -> str:
    """A stored body as it travels inside JSON; one that is not UTF-8 becomes empty, and as unreadable."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return ""


def _whole(body: bytes) -> dict[str, object]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body64": base64.b64encode(body).decode()}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _int64(value: object) -> int | None:
    return value if isinstance(value, int) and value in _INT64 else None


def _uuid(text: str) -> str | None:
    return text if _UUID.fullmatch(text) else None
