"""Every frame that a client may send in protocol version 1, defined once.

The codec validates with these models, the AsyncAPI file is generated from them, and the SDKs follow it.
What the server sends is in `server_frames`.
Validation is strict (no string passes for a number) and ignores unknown fields (P1). Ids and texts are
checked here, where bytes enter; limits that are settings (`welcome.limits`) are checked by `actions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from shared import ids
from shared.errors import InvalidText
from shared.events import ChannelKind, Role
from shared.ids import ChannelId, CommandId, Epoch, Seq, UserId

PROTOCOL_VERSION = 1
INTEGER_MAX = 2**53 - 1
"""Every integer of the protocol is exact in JavaScript (P2)."""

NAME_CHARS_MAX = 128
TOPIC_CHARS_MAX = 1024
EMOJI_CHARS_MAX = 64
MEMBERS_OF_CREATION_MAX = 100
CURSORS_OF_FRAME_MAX = 500

_UUID7 = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"


def clean_text(text: str) -> str:
    """The text itself; raises `InvalidText` with the position of a NUL or a lone surrogate (AT-80)."""
    position = text.find("\x00")
    if position >= 0:
        raise InvalidText(f"text holds a NUL at position {position}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidText(f"text holds a lone surrogate at position {error.start}") from error
    return text


def _checked(check: Callable[[str], str], **schema: object) -> tuple[AfterValidator, WithJsonSchema]:
    return AfterValidator(check), WithJsonSchema({"type": "string", **schema})


_channel = _checked(ids.channel_id, pattern="^[A-Za-z0-9_-]{1,64}$", title="ChannelId")
_command = _checked(ids.command_id, pattern=_UUID7, title="CommandId", description="UUIDv7")
_user = _checked(ids.user_id, minLength=1, maxLength=ids.USER_BYTES_MAX, title="UserId")

Channel = Annotated[ChannelId, _channel[0], _channel[1]]
Command = Annotated[CommandId, _command[0], _command[1]]
User = Annotated[UserId, _user[0], _user[1]]
Position = Annotated[Seq, Field(ge=1, le=INTEGER_MAX)]
PositionOrZero = Annotated[Seq, Field(ge=0, le=INTEGER_MAX)]
Text = Annotated[str, AfterValidator(clean_text)]
Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX), AfterValidator(clean_text)]
Topic = Annotated[str, Field(max_length=TOPIC_CHARS_MAX), AfterValidator(clean_text)]
Emoji = Annotated[str, Field(min_length=1, max_length=EMOJI_CHARS_MAX), AfterValidator(clean_text)]
Correlation = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(clean_text)]
"""An id that only pairs an answer with its question; commands that write carry a `Command` id."""


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
    """Change exactly one of a channel's name, topic and archived state: each is one event."""

    type: Literal["update_channel"]
    name: Name | None = None
    topic: Topic | None = None
    archived: bool | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> UpdateChannel:
        given = [value for value in (self.name, self.topic, self.archived) if value is not None]
        if len(given) != 1:
            raise ValueError("exactly one of name, topic, archived is needed")
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
)
ClientFrame = Annotated[
    Hello | Refresh | Pong | Probe | Resume | WritingCommand | TypingCommand | ReadCommand,
    Field(discriminator="type"),
]
