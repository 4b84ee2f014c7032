"""The channels of a Slack export and their records, whatever the lists say or leave out.

* One channel per id, in whichever lists it stands; the most private list decides who may read it.
* A folder belongs to the channel whose id or name it has. One that no list names is a former name of a
  channel if that channel was renamed from it or holds a message of it; then both are read as one.
* Any other folder is imported as a private channel of those who wrote there: nothing is lost, and nobody
  reads what he could not read before.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from infra.slack.package import LIMITS, Limits, Package
from infra.slack.tally import Tally
from shared.errors import InvalidId
from shared.events import ChannelKind
from shared.ids import DIRECT_PREFIX, PRIVATE_PREFIX, channel_id

CHANNELS_MAX = 50_000
MARKS_MAX = 1_000_000
"""Messages of folders without a channel that are looked for in the channels."""
DIRECT_MEMBERS_MAX = 20

Record = Mapping[str, object]
_LISTS: tuple[tuple[str, ChannelKind], ...] = (
    ("dms.json", "direct"),
    ("mpims.json", "private"),
    ("groups.json", "private"),
    ("channels.json", "public"),
)
"""The most private first: it decides."""
_RENAMES = frozenset({"channel_name", "group_name"})


@dataclass(slots=True)
class Conversation:
    """A channel of the export: its identity there, which is part of every id, and what its list says."""

    kind: ChannelKind
    identity: str
    record: Record
    folders: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """For people."""
        return self.folders[0] if self.folders else self.identity


class Export:
    """An open export. Use it as a context manager; raises `BadRequest` if it is no zip at all."""

    def __init__(self, path: Path, tally: Tally, limits: Limits = LIMITS) -> None:
        self._package = Package(path, tally, limits)
        self._tally = tally
        self._loose: dict[str, None] = {}
        self._marks: dict[int, str] = {}

    def __enter__(self) -> Export:
        return self

    def __exit__(self, *_: object) -> Literal[False]:
        self._package.__exit__()
        return False

    def conversations(self) -> Iterator[tuple[Conversation, list[Record]]]:
        """Every channel with all its records, former names first; each folder is read into one channel."""
        listed = self._listed()
        self._claim(listed)
        for conversation in listed:
            yield conversation, self._records(conversation)
        for folder in list(self._loose):
            yield self._unlisted(folder)

    # ------------------------------------------------------------ which channels there are

    def _listed(self) -> list[Conversation]:
        found: dict[str, Conversation] = {}
        for name, kind in _LISTS:
            for record in self._package.listed(name):
                if not isinstance(record, dict):
                    self._tally.omit("entry of a list of channels that is no object")
                elif len(found) >= CHANNELS_MAX:
                    self._tally.omit("channel beyond the limit of channels")
                else:
                    self._enter(found, kind, record)
        return list(found.values())

    def _enter(self, found: dict[str, Conversation], kind: ChannelKind, record: Record) -> None:
        name = record.get("name")
        identity = record.get("id")
        if not isinstance(identity, str) or not _is_usable(identity, kind):
            if not isinstance(name, str) or not name:
                self._tally.omit("channel of a list without id and name")
                return
            identity = f"name/{name}"
            self._tally.alter("channel without a usable id: one made from its name")
        if kind == "direct" and len(_strings(record.get("members"))) > DIRECT_MEMBERS_MAX:
            kind = "private"
            self._tally.alter("conversation of more people than a direct channel holds: a private channel")
        known = found.setdefault(identity, Conversation(kind, identity, record))
        if known.record is not record:
            self._tally.alter("channel that the lists name twice: taken as one, as the most private")
            members = [*_strings(known.record.get("members")), *_strings(record.get("members"))]
            former = [*_strings(known.record.get("previous_names")), name]
            known.record = {**known.record, "members": members, "previous_names": former}

    def _claim(self, conversations: list[Conversation]) -> None:
        """Give every folder to a channel, by id before name; what is left is loose."""
        self._loose = dict.fromkeys(self._package.folders)
        owners: set[str] = set()
        for conversation in conversations:
            self._take(conversation, [conversation.identity], owners)
        for conversation in conversations:
            if conversation.kind != "direct" and not conversation.folders:
                self._take(conversation, [conversation.record.get("name")], owners)
        for conversation in conversations:
            self._take(conversation, _strings(conversation.record.get("previous_names")), set())
        self._loose = {folder: None for folder in self._loose if not self._package.is_empty(folder)}
        for folder in self._loose:
            for entry in self._package.glance(folder):
                if len(self._marks) < MARKS_MAX and (mark := _mark(entry)) is not None:
                    self._marks[mark] = folder

    def _take(self, conversation: Conversation, names: list[object] | list[str], owners: set[str]) -> None:
        for name in names:
            folder = unicodedata.normalize("NFC", name) if isinstance(name, str) else ""
            if folder in self._loose:
                del self._loose[folder]
                owners.add(folder)
                conversation.folders.append(folder)
            elif folder in owners:
                self._tally.alter("channel whose folder another, as private or more, has: no records")

    # ------------------------------------------------------------ their records

    def _records(self, conversation: Conversation) -> list[Record]:
        groups: list[list[Record]] = []
        for folder in conversation.folders:  # grows while it is read
            groups.append(self._read(folder))
            for former in self._former(groups[-1]) if self._loose else ():
                del self._loose[former]
                conversation.folders.append(former)
                self._tally.alter("folder of a channel's former name: imported with the channel")
        return [record for group in reversed(groups) for record in group]

    def _former(self, records: list[Record]) -> Iterator[str]:
        for record in records:
            renamed = record.get("old_name") if subtype_of(record) in _RENAMES else None
            for folder in (renamed, self._marks.get(_mark(record) or 0)):
                if isinstance(folder, str) and folder in self._loose:
                    yield folder

    def _unlisted(self, folder: str) -> tuple[Conversation, list[Record]]:
        del self._loose[folder]
        self._tally.alter("channel that no list names: imported as a private one of those who wrote there")
        records = self._read(folder)
        members = list(dict.fromkeys(user for r in records if isinstance(user := r.get("user"), str)))
        times = sorted(ts for r in records if isinstance(ts := r.get("ts"), str) and ts[:10].isdecimal())
        record = {"name": folder, "members": members, "created": times[0][:10] if times else "0"}
        return Conversation("private", f"folder/{folder}", record, [folder]), records

    def _read(self, folder: str) -> list[Record]:
        records: list[Record] = []
        for entry in self._package.entries(folder):
            self._tally.records += 1
            if isinstance(entry, dict):
                records.append(_slim(entry))
            else:
                self._tally.skip("message record that is no object")
        return records


_KEPT = frozenset(
    {
        *("type", "subtype", "ts", "user", "bot_id", "bot_profile", "username", "client_msg_id", "hidden"),
        *("text", "attachments", "blocks", "files", "file", "comment", "edited", "reactions", "thread_ts"),
        *("message", "deleted_ts", "topic", "purpose", "name", "old_name"),
    }
)


def subtype_of(record: Record) -> str:
    """Empty for a plain message."""
    subtype = record.get("subtype")
    return subtype if isinstance(subtype, str) else ""


def _slim(record: Record) -> Record:
    """A record without what no import reads: a whole channel is in memory at a time."""
    return {name: value for name, value in record.items() if name in _KEPT}


def _mark(entry: object) -> int | None:
    """What tells a message apart from every other of the export."""
    if not isinstance(entry, dict):
        return None
    ts, user, text = entry.get("ts"), entry.get("user"), entry.get("text")
    if not (isinstance(ts, str) and isinstance(text, str) and text):
        return None
    return hash((ts, user if isinstance(user, str) else None, text))


def _is_usable(identity: str, kind: ChannelKind) -> bool:
    """A public channel keeps its id; those of others only name them here."""
    try:
        checked = channel_id(identity)
        return kind != "public" or not checked.startswith((PRIVATE_PREFIX, DIRECT_PREFIX))
    except InvalidId:
        return False


def _strings(value: object) -> list[str]:
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []
