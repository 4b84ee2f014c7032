"""Every frame that the server sends in protocol version 1, defined once.

The AsyncAPI file is generated from these models. `event` is the exception: its bytes come from
`shared.wire_form.wire`, once for all recipients (P20); `EventFrame` describes them for schemas and tests.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.events import ChannelKind, Role
from shared.ids import ChannelId, CommandId, Epoch, Seq, UserId, WorkspaceId


class _ServerFrame(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True)


class Limits(_ServerFrame):
    """What this server allows; what exceeds `frame_bytes` is closed with 1009, the rest is an error (P3)."""

    frame_bytes: int
    text_bytes: int
    cursors_per_frame: int
    commands_per_s: float
    commands_burst: int
    commands_in_flight: int
    typing_members: int


class ChannelInfo(_ServerFrame):
    """A channel as one of its members sees it; `unread` counts messages after `read`.

    Without `retention_days` messages are kept for ever.
    """

    id: ChannelId
    kind: ChannelKind
    name: str
    topic: str
    role: Role
    epoch: Epoch
    head: Seq
    read: Seq
    unread: int
    archived: bool
    members: int
    retention_days: int | None = None


class ChannelName(_ServerFrame):
    """All that is said of a channel to somebody who is no member any more (P21)."""

    id: ChannelId


class Welcome(_ServerFrame):
    """The session is open (P6). `more`: `channels` frames with the rest follow."""

    type: Literal["welcome"] = "welcome"
    session: str
    node: str
    user: UserId
    workspace: WorkspaceId
    server_time: str
    expires_at: str | None
    heartbeat_s: float
    limits: Limits
    channels: list[ChannelInfo]
    more: bool


class Channels(_ServerFrame):
    """A further page of the caller's channels."""

    type: Literal["channels"] = "channels"
    channels: list[ChannelInfo]
    more: bool


class ChannelChanged(_ServerFrame):
    """The caller became a member (`channel` is complete) or is none any more (`channel` has only `id`)."""

    type: Literal["channel"] = "channel"
    member: bool
    channel: ChannelInfo | ChannelName


class Gap(_ServerFrame):
    """A hole that is named instead of filled: `from` (exclusive) to `to`, null where it may not be told."""

    from_: Seq = Field(alias="from")
    to: Seq | None
    reason: Literal["too_far", "retention", "forbidden", "unavailable"]


class Resumed(_ServerFrame):
    """The events `from` (exclusive) to `to` (inclusive) were sent: `count` of them, all if `complete`."""

    type: Literal["resumed"] = "resumed"
    channel: ChannelId
    from_: Seq = Field(alias="from")
    to: Seq
    complete: bool
    count: int
    gap: Gap | None = None


class Reset(_ServerFrame):
    """The cursor means nothing here: forget this channel's events and start from `head` in `epoch`."""

    type: Literal["reset"] = "reset"
    channel: ChannelId
    reason: Literal["foreign_epoch", "ahead_of_head", "log_regressed"]
    epoch: Epoch
    head: Seq


class Ping(_ServerFrame):
    """Heartbeat (P8). A client whose number is below a head asks again with `resume`."""

    type: Literal["ping"] = "ping"
    id: str | None = None
    heads: dict[ChannelId, Seq]
    server_time: str


class Refreshed(_ServerFrame):
    """Answer to `refresh`."""

    type: Literal["refreshed"] = "refreshed"
    id: str | None = None
    expires_at: str | None


class Bye(_ServerFrame):
    """Precedes every close by the server (P10)."""

    type: Literal["bye"] = "bye"
    code: int
    reason: str
    resumable: bool
    retry_after_ms: int | None = None


# ---------------------------------------------------------------- server to client: answers and facts


class Ack(_ServerFrame):
    """The event is durable at `seq` of `channel`; `duplicate`: it was so before this command (P12)."""

    type: Literal["ack"] = "ack"
    id: CommandId
    channel: ChannelId
    seq: Seq
    ts: str
    duplicate: bool


class Error(_ServerFrame):
    """A command was refused. `code` is stable, `message` is for people, `limit` names the bound.

    `seq`, with `conflict`: the number under which the same id is recorded, with another body.
    """

    type: Literal["error"] = "error"
    id: str | None = None
    code: str
    message: str
    retry_after_ms: int | None = None
    limit: str | None = None
    seq: Seq | None = None


class Typing(_ServerFrame):
    """A member types; clients forget it after six seconds or that member's next event (P16)."""

    type: Literal["typing"] = "typing"
    channel: ChannelId
    user: UserId


class Read(_ServerFrame):
    """How far this user has read, on whichever session (P15)."""

    type: Literal["read"] = "read"
    channel: ChannelId
    seq: Seq
    unread: int


class ImportedMark(_ServerFrame):
    """Who imported an event, and when it really happened."""

    by: UserId
    at: str


class EventFrame(_ServerFrame):
    """What `shared.wire_form` writes, for schemas and tests: which fields stand depends on `kind` (P19)."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["event"] = "event"
    channel: ChannelId
    seq: Seq
    ts: str
    kind: str
    id: str
    author: str
    imported: ImportedMark | None = None
    text: str | None = None
    thread: Seq | None = None
    ref: Seq | None = None
    emoji: str | None = None
    user: UserId | None = None
    role: Role | None = None
    channel_kind: ChannelKind | None = None
    name: str | None = None
    topic: str | None = None
    members: list[UserId] | None = None
    erased: Literal[True] | None = None
    days: int | None = None
    operator: Literal[True] | None = None
    since: Seq | None = None
    before: Seq | None = None
    older_than: str | None = None


ServerFrame = Annotated[
    Welcome
    | Channels
    | ChannelChanged
    | EventFrame
    | Ack
    | Error
    | Resumed
    | Reset
    | Ping
    | Refreshed
    | Typing
    | Read
    | Bye,
    Field(discriminator="type"),
]
