"""The frames of the protocol as the client sees them: types only, nothing is validated here.

The server validates what it writes; a client ignores fields and types that it does not know (P1). The
edge's models in `edge.core` are the definition, and a conformance test holds these types against it.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from shared.events import ChannelKind, Role
from shared.ids import ChannelId, CommandId, Epoch, Seq, UserId, WorkspaceId


class CursorFrame(TypedDict):
    """The last event that was processed; seq 0 asks for everything."""

    epoch: Epoch
    seq: Seq


class Limits(TypedDict):
    """What the server allows."""

    frame_bytes: int
    text_bytes: int
    cursors_per_frame: int
    commands_in_flight: int


class ChannelInfo(TypedDict):
    """A channel as its member sees it."""

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
    retention_days: NotRequired[int]


class WelcomeFrame(TypedDict):
    """The session is open (P6)."""

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


class ChannelsFrame(TypedDict):
    """A further page of the caller's channels."""

    channels: list[ChannelInfo]
    more: bool


class ChannelFrame(TypedDict):
    """Membership began (`channel` is complete) or ended (`channel` has only `id`)."""

    member: bool
    channel: ChannelInfo


class ImportedMark(TypedDict):
    """Who imported an event, and when it really happened."""

    by: UserId
    at: str


class EventFrame(TypedDict):
    """An event (P19); which of the optional fields stand depends on `kind`."""

    type: Literal["event"]
    channel: ChannelId
    seq: Seq
    ts: str
    kind: str
    id: CommandId
    author: UserId
    text: NotRequired[str]
    thread: NotRequired[Seq]
    ref: NotRequired[Seq]
    emoji: NotRequired[str]
    user: NotRequired[UserId]
    role: NotRequired[Role]
    name: NotRequired[str]
    topic: NotRequired[str]
    imported: NotRequired[ImportedMark]
    erased: NotRequired[Literal[True]]
    days: NotRequired[int]
    operator: NotRequired[Literal[True]]
    since: NotRequired[Seq]
    before: NotRequired[Seq]
    older_than: NotRequired[str]


class AckFrame(TypedDict):
    """The event is durable at `seq`."""

    id: CommandId
    channel: ChannelId
    seq: Seq
    ts: str
    duplicate: bool


class ErrorFrame(TypedDict):
    """A command was refused."""

    id: NotRequired[str | None]
    code: str
    message: str
    retry_after_ms: NotRequired[int | None]
    limit: NotRequired[str | None]
    seq: NotRequired[int | None]


GapFrame = TypedDict("GapFrame", {"from": Seq, "to": Seq | None, "reason": str})

ResumedFrame = TypedDict(
    "ResumedFrame",
    {
        "channel": ChannelId,
        "from": Seq,
        "to": Seq,
        "complete": bool,
        "count": int,
        "gap": NotRequired[GapFrame | None],
    },
)


class ResetFrame(TypedDict):
    """The cursor means nothing on the server: begin again from `head` in `epoch`."""

    channel: ChannelId
    reason: str
    epoch: Epoch
    head: Seq


class PingFrame(TypedDict):
    """Heartbeat with heads (P8)."""

    heads: dict[ChannelId, Seq]
    server_time: str


class RefreshedFrame(TypedDict):
    """The newer token was taken."""

    expires_at: str | None


class TypingFrame(TypedDict):
    """A member types."""

    channel: ChannelId
    user: UserId


class ReadFrame(TypedDict):
    """How far this user has read, on whichever session."""

    channel: ChannelId
    seq: Seq
    unread: int


class ByeFrame(TypedDict):
    """Precedes every close by the server (P10)."""

    code: int
    reason: str
    resumable: bool
    retry_after_ms: NotRequired[int | None]
