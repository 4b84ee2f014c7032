"""Every frame that a client may send in protocol version 1, defined once.

The codec validates with these models, the AsyncAPI file is generated from them, and the SDKs follow it.
What the server sends is in `server_frames`.
Validation is strict (no string passes for a number), unknown fields are ignored (P1); see also `fields`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from edge.core.fields import (
    NAME_CHARS_MAX,
    Channel,
    Command,
    Correlation,
    Emoji,
    Name,
    Position,
    PositionOrZero,
    RetentionDays,
    Text,
    Topic,
    User,
    clean_text,
)
from shared.events import ChannelKind, Role
from shared.ids import Epoch

PROTOCOL_VERSION = 1
MEMBERS_OF_CREATION_MAX = 100
CURSORS_OF_FRAME_MAX = 500


class _Frame(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, populate_by_name=True)


# ---------------------------------------------------------------- client to server: session


class CursorFrame(_Frame):
    """The last event of a channel that the client has processed; seq 0 asks for everything."""

    epoch: Annotated[Epoch, Field(max_length=64)]
    seq: PositionOrZero


Cursors = Annotated[dict[Channel, CursorFrame], Field(max_length=CURSORS_OF_FRAME_MAX)]


class Hello(_Frame):
    """The first frame (P5). `batch`: the server may put several events into one frame, as a JSON array."""

    type: Literal["hello"]
    version: int = PROTOCOL_VERSION
    token: str | None = None
    client: Annotated[str, Field(max_length=128), AfterValidator(clean_text)] | None = None
    batch: bool = False
    cursors: Cursors = Field(default_factory=dict)


class Refresh(_Frame):
    """A newer token of the same user: the session lives until that one expires (P9)."""

    type: Literal["refresh"]
    id: Correlation | None = None
    token: str


class Pong(_Frame):
    """Says only that the client is alive; any other frame does as well (P8)."""

    type: Literal["pong"]


class Probe(_Frame):
    """A client's own `ping`, after its machine slept for instance: answered by a server `ping`."""

    type: Literal["ping"]
    id: Correlation | None = None


class Resume(_Frame):
    """Ask again for what follows these cursors (P7, P8)."""

    type: Literal["resume"]
    id: Correlation | None = None
    cursors: Cursors


# ---------------------------------------------------------------- client to server: commands


class ImportedFrom(_Frame):
    """Needs the scope `import`: the original author and time of something brought in from elsewhere."""

    at: Annotated[str, Field(max_length=40)]
    author: User


class Writing(_Frame):
    """Has an id for ever (P12); `imported` needs a scope."""

    id: Command
    imported: ImportedFrom | None = None


class InChannel(Writing):
    """Is about an existing channel."""

    channel: Channel


class OnTarget(InChannel):
    """Is about the message at `ref`."""

    ref: Position


class Send(InChannel):
    """Post a message; `thread` is the seq of the message that it answers (P12)."""

    type: Literal["send"]
    text: Text
    thread: Position | None = None


class Edit(OnTarget):
    """Replace the text of one's own message."""

    type: Literal["edit"]
    text: Text


class Delete(OnTarget):
    """Delete one's own message, or as an admin anybody's."""

    type: Literal["delete"]


class React(OnTarget):
    """React to a message."""

    type: Literal["react"]
    emoji: Emoji


class Unreact(OnTarget):
    """Take a reaction back."""

    type: Literal["unreact"]
    emoji: Emoji


class Pin(OnTarget):
    """Pin a message."""

    type: Literal["pin"]


class Unpin(OnTarget):
    """Unpin a message."""

    type: Literal["unpin"]


class Join(InChannel):
    """Join a public channel."""

    type: Literal["join"]


class Leave(InChannel):
    """Leave a channel."""

    type: Literal["leave"]


class Invite(InChannel):
    """Make a user a member at once."""

    type: Literal["invite"]
    user: User
    role: Role = "member"


class Kick(InChannel):
    """As an admin, remove a user."""

    type: Literal["kick"]
    user: User


class SetRole(InChannel):
    """As an admin, give a member another role."""

    type: Literal["set_role"]
    user: User
    role: Role


class CreateChannel(Writing):
    """Create a channel: a public one has the `channel` id that its creator chose.

    A private one's id is derived from this command, a direct one's from its members; the ack names it.
    """

    type: Literal["create_channel"]
    kind: ChannelKind
    name: Annotated[str, Field(max_length=NAME_CHARS_MAX), AfterValidator(clean_text)] = ""
    channel: Channel | None = None
    topic: Topic = ""
    members: Annotated[list[User], Field(max_length=MEMBERS_OF_CREATION_MAX)] = Field(default_factory=list)


class UpdateChannel(InChannel):
    """Change exactly one of a channel's name, topic, archived state and retention: each is one event.

    Messages expire after `retention_days` whole days (UTC), null: never. The scope `erase` sets it anywhere.
    """

    type: Literal["update_channel"]
    name: Name | None = None
    topic: Topic | None = None
    archived: bool | None = None
    retention_days: RetentionDays | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> UpdateChannel:
        others = [value for value in (self.name, self.topic, self.archived) if value is not None]
        if len(others) + self.is_about_retention != 1:
            raise ValueError("exactly one of name, topic, archived, retention_days is needed")
        return self

    @property
    def is_about_retention(self) -> bool:
        """Also if it is null and nothing else is named."""
        others = (self.name, self.topic, self.archived)
        is_null = "retention_days" in self.model_fields_set and others == (None, None, None)
        return is_null or self.retention_days is not None


class Erase(InChannel):
    """Take the text of a message, or of all that a user has said so far, out for good.

    Needs the scope `erase`, no membership; exactly one of `ref` and `user`. The numbers stay.
    """

    type: Literal["erase"]
    ref: Position | None = None
    user: User | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Erase:
        if (self.ref is None) == (self.user is None):
            raise ValueError("exactly one of ref, user is needed")
        return self


class TypingCommand(_Frame):
    """The user is typing; never answered, forgotten after six seconds (P16)."""

    type: Literal["typing"]
    id: Correlation | None = None
    channel: Channel


class ReadCommand(_Frame):
    """The user has read up to `seq`; answered by a `read` frame on all of the user's sessions (P15)."""

    type: Literal["read"]
    id: Correlation | None = None
    channel: Channel
    seq: PositionOrZero


WritingCommand = (
    Send
    | Edit
    | Delete
    | React
    | Unreact
    | Join
    | Leave
    | Invite
    | Kick
    | CreateChannel
    | UpdateChannel
    | SetRole
    | Pin
    | Unpin
    | Erase
)
ClientFrame = Annotated[
    Hello | Refresh | Pong | Probe | Resume | WritingCommand | TypingCommand | ReadCommand,
    Field(discriminator="type"),
]
