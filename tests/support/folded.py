"""What the channels of a workspace say at the end, folded from their logs: to compare two workspaces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from shared import events as e
from shared.bus import Bus
from shared.channel import ChannelState, apply
from shared.clock import rfc3339
from shared.events import Recorded
from tests.support.archive import read_logs

DELETED = "(deleted)"


@dataclass
class Message:
    """A message as it is now."""

    author: str
    at: str
    """When it was said: in the log, or where it was imported from."""
    text: str
    thread: int | None
    edits: list[str] = field(default_factory=list)
    """When it was edited."""
    reactions: set[tuple[str, str]] = field(default_factory=set)
    """Who, with what."""


@dataclass
class Folded:
    """A channel of the log, at the end."""

    state: ChannelState
    messages: dict[int, Message] = field(default_factory=dict)

    def number(self, text: str) -> int:
        """The one message with that text."""
        (found,) = [seq for seq, message in self.messages.items() if message.text == text]
        return found

    def said(self, text: str) -> Message:
        """The same."""
        return self.messages[self.number(text)]

    def sayings(self) -> list[object]:
        """What can be compared with another log, whose numbers are others: everything, by time; of the edits
        the last one.
        """
        by_time = sorted(self.messages.items(), key=lambda item: (item[1].at, item[0]))
        places = {seq: place for place, (seq, _) in enumerate(by_time)}
        return [
            (m.author, m.at, m.text, m.thread and places[self._root(m.thread)], m.edits[-1:], m.reactions)
            for _, m in by_time
        ]

    def _root(self, seq: int) -> int:
        above = self.messages[seq].thread
        return seq if above is None else self._root(above)


def fold_channel(events: Iterable[Recorded]) -> Folded:
    """A channel's log, folded; what is void has no part in it."""
    state: ChannelState | None = None
    messages: dict[int, Message] = {}
    for recorded in events:
        if recorded.void is not None:
            continue
        state = apply(state, recorded.event)
        at = recorded.event.imported.at if recorded.event.imported else rfc3339(recorded.at_us)
        match recorded.event:
            case e.MessagePosted() as event:
                messages[recorded.seq] = Message(event.author, at, event.text, event.thread)
            case e.MessageEdited() as event:
                messages[event.ref].text = event.text
                messages[event.ref].edits.append(at)
            case e.MessageDeleted() as event:
                messages[event.ref] = Message(
                    messages[event.ref].author, messages[event.ref].at, DELETED, messages[event.ref].thread
                )
            case e.ReactionAdded() as event if messages[event.ref].text != DELETED:
                messages[event.ref].reactions.add((event.author, event.emoji))
            case e.ReactionRemoved() as event:
                messages[event.ref].reactions.discard((event.author, event.emoji))
    assert state is not None
    return Folded(state, messages)


async def fold_workspace(bus: Bus, workspace: str, partitions: int) -> dict[str, Folded]:
    """Every channel of a workspace by its name; a direct one by its members."""
    logged = await read_logs(bus, partitions)
    folded = [fold_channel(events) for key, events in logged.events.items() if key.workspace == workspace]
    return {channel.state.name or ",".join(sorted(channel.state.members)): channel for channel in folded}
