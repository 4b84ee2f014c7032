"""What may stand in the fields of a client's frame: ids, positions and texts, checked where bytes enter.

Limits that are settings (`welcome.limits`) are checked by `actions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from shared import ids
from shared.errors import InvalidText
from shared.events import RETENTION_DAYS_MAX
from shared.ids import ChannelId, CommandId, Seq, UserId

INTEGER_MAX = 2**53 - 1
"""Every integer of the protocol is exact in JavaScript (P2)."""

NAME_CHARS_MAX = 128
TOPIC_CHARS_MAX = 1024
EMOJI_CHARS_MAX = 64

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
RetentionDays = Annotated[int, Field(ge=1, le=RETENTION_DAYS_MAX)]
Correlation = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(clean_text)]
"""An id that only pairs an answer with its question; commands that write carry a `Command` id."""
