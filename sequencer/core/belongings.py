"""The directory as a derivation of the fold: who is in which channel, and which channels are public.

An entry says what is true at one event of a channel, so an entry of a later event always replaces one of an
earlier event, and writing the same entry again does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sequencer.core.ledger import Change
from shared import events as e
from shared.channel import ChannelState
from shared.ids import ChannelKey, Epoch, Seq, StreamSeq, UserId
from shared.records import Belonging, Checkpoint, PublicChannel
from shared.subjects import directory_key, public_directory_key


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of the directory; `user` is None for the entry of a public channel."""

    channel: ChannelKey
    user: UserId | None
    record: Belonging | PublicChannel

    @property
    def key(self) -> str:
        """Its key in the bucket."""
        workspace, channel = self.channel
        if self.user is None:
            return public_directory_key(workspace, channel)
        return directory_key(workspace, self.user, channel)


def entries(change: Change) -> list[Entry]:
    """What an event changed in the directory; nothing if it is void."""
    recorded, state = change.recorded, change.state
    if recorded.void is not None or state is None or isinstance(recorded.event, e.MessagePosted):
        return []
    at = _At(recorded.key, recorded.seq, recorded.stream_seq, change.epoch, state)
    found = at.belongings(_concerned(recorded.event))
    if not found and not _describes(recorded.event):
        return []
    return [*found, *at.public()]


def all_entries(key: ChannelKey, checkpoint: Checkpoint) -> list[Entry]:
    """Everything that the directory has to say about a channel, as of its checkpoint (to rebuild it)."""
    state = checkpoint.state
    if state is None:
        return []
    at = _At(key, checkpoint.seq, checkpoint.stream_seq, checkpoint.epoch, state)
    return at.belongings(state.members) + at.public()


def absence(key: ChannelKey, user: UserId, checkpoint: Checkpoint) -> Entry | None:
    """What the directory has to say of somebody whom it lists; None if that is right, or nothing is known."""
    state = checkpoint.state
    if state is None or user in state.members:
        return None
    (entry,) = _At(key, checkpoint.seq, checkpoint.stream_seq, checkpoint.epoch, state).belongings([user])
    return entry


@dataclass(frozen=True, slots=True)
class _At:
    key: ChannelKey
    seq: Seq
    stream_seq: StreamSeq
    epoch: Epoch
    state: ChannelState

    def belongings(self, users: Iterable[UserId]) -> list[Entry]:
        return [Entry(self.key, user, self._belonging(user)) for user in users]

    def _belonging(self, user: UserId) -> Belonging:
        return Belonging(
            channel=self.key.channel,
            member=user in self.state.members,
            role=self.state.members.get(user, "member"),
            kind=self.state.kind,
            seq=self.seq,
            stream_seq=self.stream_seq,
            epoch=self.epoch,
        )

    def public(self) -> list[Entry]:
        if self.state.kind != "public":
            return []
        record = PublicChannel(
            channel=self.key.channel,
            name=self.state.name,
            topic=self.state.topic,
            archived=self.state.archived,
            members=len(self.state.members),
            seq=self.seq,
            stream_seq=self.stream_seq,
            epoch=self.epoch,
        )
        return [Entry(self.key, None, record)]


def _concerned(event: e.Event) -> tuple[UserId, ...]:
    """The users whose belonging an event changes."""
    match event:
        case e.ChannelCreated(channel_kind="direct"):
            return event.members
        case e.ChannelCreated():
            return tuple(dict.fromkeys((event.author, *event.members)))
        case e.MemberJoined() | e.MemberLeft():
            return (event.author,)
        case e.MemberInvited() | e.MemberRemoved() | e.MemberRoleChanged():
            return (event.user,)
    return ()


def _describes(event: e.Event) -> bool:
    """Whether an event changes how a channel looks in a list."""
    return isinstance(event, e.ChannelRenamed | e.ChannelTopicSet | e.ChannelArchived | e.ChannelUnarchived)
