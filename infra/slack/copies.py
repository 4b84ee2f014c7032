"""One message, several records: copies in the folders of two names, or a later state in a later file.

Slack's `ts` is unique in a channel, so records with one `ts` are one message, unless they name different
authors. A tombstone among them says that the message was deleted since. Otherwise each copy that was
edited later is a later version, and of copies that claim the same edit the last one in the export counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from infra.slack.export import Record, subtype_of
from infra.slack.source import author_of, is_ts, time_us
from infra.slack.tally import Tally

CHANGES = frozenset({"message_changed", "message_deleted"})
ECHOES = frozenset({"message_replied", "thread_broadcast_removed", "reply_broadcast_removed"})
"""Subtypes that only repeat what another record says."""

MEMBERSHIPS = {"channel_join": "join", "group_join": "join", "channel_leave": "leave", "group_leave": "leave"}
UPDATES = {
    "channel_topic": ("topic", "topic"),
    "group_topic": ("topic", "topic"),
    "channel_purpose": ("topic", "purpose"),
    "group_purpose": ("topic", "purpose"),
    "channel_name": ("name", "name"),
    "group_name": ("name", "name"),
}
ARCHIVED = {
    "channel_archive": True,
    "group_archive": True,
    "channel_unarchive": False,
    "group_unarchive": False,
}
_EVENTS = frozenset({*CHANGES, *ECHOES, *MEMBERSHIPS, *UPDATES, *ARCHIVED})
_UNEDITED = -1


@dataclass(frozen=True, slots=True)
class Saying:
    """One message or event: its versions, oldest first, each with the time of the edit that made it."""

    key: str
    """Unique in the channel: the `ts`; for a second author's message at that time, the author as well."""
    ts: str
    versions: tuple[tuple[int, Record], ...]

    @property
    def record(self) -> Record:
        """The newest version."""
        return self.versions[-1][1]


def merged(records: Iterable[Record], tally: Tally) -> list[Saying]:
    """The sayings of a channel by time; records without a usable `ts` are counted."""
    by_time: dict[int, list[Record]] = {}
    for record in records:
        ts = ts_of(record)
        if ts is None:
            tally.skip("record without a usable ts")
        else:
            by_time.setdefault(time_us(ts), []).append(record)
    found: list[Saying] = []
    for at_us in sorted(by_time):
        for number, copies in enumerate(_groups(by_time[at_us])):
            ts = ts_of(copies[0]) or ""
            key = ts if number == 0 else f"{ts} {number}"
            found.append(Saying(key, ts, _versions(copies, tally)))
    return found


def ts_of(record: Record) -> str | None:
    """The record's time as Slack writes it, also if somebody's tool has made a number of it."""
    ts = record.get("ts")
    text = str(ts) if isinstance(ts, int) and not isinstance(ts, bool) else ts
    return text if isinstance(text, str) and is_ts(text) else None


def edited_us(record: Record) -> int | None:
    """When the record was edited last, in microseconds; None if it was not, or nobody knows when."""
    edited = record.get("edited")
    ts = edited.get("ts") if isinstance(edited, dict) else None
    return time_us(ts) if isinstance(ts, str) and is_ts(ts) else None


def _groups(records: list[Record]) -> list[list[Record]]:
    """The records of one time, each group copies of one message or event."""
    groups: dict[tuple[str, str | None], list[Record]] = {}
    messages = [record for record in records if _sort_of(record) == "message"]
    is_one = _one_message(messages)
    for record in records:
        sort = _sort_of(record)
        author = None if sort == "message" and is_one else author_of(record)
        groups.setdefault((sort, author), []).append(record)
    return list(groups.values())


def _one_message(messages: list[Record]) -> bool:
    if any(subtype_of(record) == "tombstone" for record in messages):
        return True
    return len({author for record in messages if (author := author_of(record)) is not None}) <= 1


def _sort_of(record: Record) -> str:
    subtype = subtype_of(record)
    if record.get("type", "message") != "message":
        return "no message"
    return subtype if subtype in _EVENTS else "message"


def _versions(copies: list[Record], tally: Tally) -> tuple[tuple[int, Record], ...]:
    tally.merge("copy of a message that its channel has already", len(copies) - 1)
    tombstones = [record for record in copies if subtype_of(record) == "tombstone"]
    if tombstones:
        return ((_UNEDITED, tombstones[-1]),)
    by_edit: dict[int, Record] = {}
    for record in copies:
        at_us = edited_us(record)
        by_edit[_UNEDITED if at_us is None else at_us] = record
    return tuple(sorted(by_edit.items(), key=lambda pair: pair[0]))
