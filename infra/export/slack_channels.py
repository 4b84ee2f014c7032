"""The channels of a Slack export: what their lists say at the end, and the folders that hold their days."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from infra.export.source import Source
from shared.archive_rows import ROW_SQL, Row, recorded_of
from shared.channel import ChannelState, apply
from shared.clock import parse_rfc3339
from shared.events import ChannelCreated, PinAdded, PinRemoved, Recorded

FOLDER_BYTES_MAX = 100

_FOLDER = re.compile(r"\w[\w.-]*")


@dataclass(slots=True)
class Channel:
    """A channel at the end of its log."""

    id: str
    state: ChannelState
    created_us: int
    first_name: str
    pins: dict[int, str] = field(default_factory=dict)
    """Pinned messages, and who pinned each."""
    folder: str = ""

    @property
    def list_name(self) -> str:
        """The list of the export that names it."""
        lists = {"public": "channels.json", "private": "groups.json", "direct": "dms.json"}
        return lists[self.state.kind]

    def entry(self, pinned: dict[int, str]) -> dict[str, object]:
        """What the list says of it; `pinned`: the times of the pinned messages."""
        state = self.state
        entry: dict[str, object] = {"id": self.id, "created": self.created_us // 1_000_000}
        if state.kind == "direct":
            return entry | {"members": sorted(state.members)}
        return entry | {
            "name": state.name,
            "creator": state.created_by,
            "is_archived": state.archived,
            "is_general": False,
            "members": sorted(state.members),
            "topic": {"value": state.topic, "creator": "", "last_set": 0},
            "purpose": {"value": "", "creator": "", "last_set": 0},
            "pins": [
                {"id": pinned[seq], "type": "C", "user": user}
                for seq, user in self.pins.items()
                if seq in pinned
            ],
        }


def read_channels(source: Source) -> dict[str, Channel]:
    """Every selected channel that was ever created, with its folder."""
    found: dict[str, Channel] = {}
    query = f"""SELECT {ROW_SQL} FROM events WHERE {source.selection.where} AND void IS NULL
        AND (kind LIKE 'channel.%' OR kind LIKE 'member.%' OR kind LIKE 'pin.%') ORDER BY channel, seq"""  # noqa: S608
    for rows in source.query(query):
        for row in rows:
            _enter(found, recorded_of(Row._make(row)))
    for channel, folder in zip(found.values(), _folders(found.values()), strict=True):
        channel.folder = folder
    return found


def _enter(found: dict[str, Channel], recorded: Recorded) -> None:
    event, id_ = recorded.event, recorded.key.channel
    channel = found.get(id_)
    state = apply(channel.state if channel else None, event)
    if state is None:
        return
    if channel is None:
        assert isinstance(event, ChannelCreated), "only a creation makes a state of none"
        channel = found[id_] = Channel(id_, state, at_us(recorded), event.name)
    channel.state = state
    match event:
        case PinAdded() if event.ref in state.pins:
            channel.pins.setdefault(event.ref, event.author)
        case PinRemoved():
            channel.pins.pop(event.ref, None)


def at_us(recorded: Recorded) -> int:
    """When it happened: for an imported event, where it came from."""
    imported = recorded.event.imported
    return recorded.at_us if imported is None else max(0, parse_rfc3339(imported.at))


def _folders(channels: Iterable[Channel]) -> Iterator[str]:
    """A folder for each: its name where that is one, otherwise its id, which nobody else's folder is.

    Names are anything, and two channels may share one; a name that could lead elsewhere is never a path.
    """
    channels = list(channels)
    taken = {channel.id.lower() for channel in channels}
    for channel in channels:
        name = channel.state.name
        usable = channel.state.kind != "direct" and _FOLDER.fullmatch(name) and name.lower() not in taken
        folder = name if usable and len(name.encode()) <= FOLDER_BYTES_MAX else channel.id
        taken.add(folder.lower())
        yield folder
