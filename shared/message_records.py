"""What is asked and answered about messages as they are now, after all that the log says about them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from shared.events import Imported
from shared.ids import CommandId, Seq, UserId
from shared.records import HistoryRequest


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class MessagesRequest(HistoryRequest):
    """A page of messages, or of the replies in a `thread`, asked for as one of events is."""

    thread: Seq | None = None


class Edit(_Record):
    """The newest edit of a message: which event, and when (microseconds)."""

    seq: Seq
    at_us: int


class Deletion(_Record):
    """The first deletion of a message: no later event brings it back."""

    seq: Seq
    at_us: int
    by: UserId


class Reaction(_Record):
    """How many have reacted so, and the first of them by name."""

    emoji: str
    count: int
    users: tuple[UserId, ...]


class Replies(_Record):
    """How many replies a message has that were not deleted, and the newest of them."""

    count: int
    last_seq: Seq


class Message(_Record):
    """A message after all that was said about it. `text` is None if it was deleted or erased.

    `reactions`: the most frequent first; `more_reactions` says that there are more emojis than are shown.
    """

    seq: Seq
    at_us: int
    id: CommandId
    author: UserId
    text: str | None
    thread: Seq | None = None
    imported: Imported | None = None
    edited: Edit | None = None
    deleted: Deletion | None = None
    erased: bool = False
    reactions: tuple[Reaction, ...] = ()
    more_reactions: bool = False
    replies: Replies | None = None


class MessagesPage(_Record):
    """Messages in ascending order of seq, folded up to the channel's event `upto`.

    `root`: what a thread answers; None if there is no such message, or no thread was asked for.
    """

    messages: tuple[Message, ...]
    more_before: bool
    more_after: bool
    upto: Seq
    root: Message | None = None
