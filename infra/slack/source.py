"""One channel of an export while it is converted: what was seen of it, and how its orders are made."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from infra.slack.export import Conversation, Record
from infra.slack.orders import Order
from infra.slack.tally import Tally
from shared.client import Origin
from shared.clock import rfc3339
from shared.errors import InvalidId
from shared.ids import CommandId, derived_command_id, user_id

_TS = re.compile(r"(\d{1,10})(?:\.(\d{1,6}))?", re.ASCII)


@dataclass(slots=True)
class Source:
    """A channel that is imported into `team`."""

    conversation: Conversation
    team: str
    tally: Tally
    roots: dict[str, str] = field(default_factory=dict)
    """Every message so far, by its time, and the one that begins its thread: itself, mostly."""
    orphans: dict[str, str] = field(default_factory=dict)
    """Roots that are missing, and the first reply to each, which the other replies answer instead."""
    pins: dict[str, str] = field(default_factory=dict)
    """Messages that are pinned, and by whom; each is taken out when its message comes."""
    members: dict[str, bool] = field(default_factory=dict)
    """Whose last record says that he has joined, and whose that he has left."""
    closed: bool = False
    """Whether the records so far end with the channel archived."""
    last: str = "0"
    """The `ts` of the last record that is not from the future."""

    @property
    def is_direct(self) -> bool:
        """A conversation between fixed people."""
        return self.conversation.kind == "direct"

    def order(
        self,
        kind: str,
        ts: str,
        author: str,
        *parts: str,
        creates: str | None = None,
        ref: str | None = None,
        thread: str | None = None,
        counts: bool = False,
        fields: dict[str, object] | None = None,
    ) -> Order:
        """An order at Slack's time `ts`; `parts` tell orders of one author and time apart in their ids."""
        return Order(
            kind=kind,
            id=self._command_id(ts, kind, author, *parts),
            origin=Origin(author, rfc3339(time_us(ts))),
            fields=fields or {},
            creates=creates,
            ref=ref,
            thread=thread,
            counts=counts,
        )

    def _command_id(self, ts: str, *parts: str) -> CommandId:
        return derived_command_id(
            time_us(ts) // 1000, "slack", self.team, self.conversation.identity, ts, *parts
        )


def is_ts(value: object) -> bool:
    """Whether this is a time as Slack writes it: seconds and a fraction, unique in its channel."""
    return isinstance(value, str) and _TS.fullmatch(value) is not None


def time_us(ts: str) -> int:
    """Microseconds since 1970."""
    match = _TS.fullmatch(ts)
    assert match is not None, "only checked times come here"
    return int(match[1]) * 1_000_000 + int((match[2] or "").ljust(6, "0"))


def ts_at(at_us: int) -> str:
    """The inverse of `time_us`."""
    return f"{at_us // 1_000_000}.{at_us % 1_000_000:06d}"


def user_of(value: object) -> str | None:
    """A usable user id, in `users.json` or not."""
    try:
        return user_id(value) if isinstance(value, str) else None
    except InvalidId:
        return None


def author_of(record: Record) -> str | None:
    """The user, or the bot, or whoever commented on a file."""
    comment, profile = record.get("comment"), record.get("bot_profile")
    inner = comment.get("user") if isinstance(comment, dict) else None
    bot = profile.get("id") if isinstance(profile, dict) else None
    candidates = (record.get("user"), record.get("bot_id"), inner, bot, record.get("username"))
    return next((user for candidate in candidates if (user := user_of(candidate)) is not None), None)
