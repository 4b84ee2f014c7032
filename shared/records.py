"""What the services say to one another besides events: bucket values, broadcasts, archive requests.

All are JSON by pydantic; sequences that only move forward carry their `stream_seq`, so that a writer
that is behind can never overwrite one that is ahead.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.channel import ChannelState
from shared.events import ChannelKind, Recorded, Role
from shared.fingerprints import fingerprint
from shared.ids import ChannelId, CommandId, Epoch, Seq, StreamSeq, UserId, WorkspaceId


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Checkpoint(_Record):
    """`CHECKPOINTS` value of a channel: its number, position and state at one point of the log.

    The state is None as long as every event was void (a log that does not begin with `channel.created`).
    """

    seq: Seq
    stream_seq: StreamSeq
    state: ChannelState | None
    epoch: Epoch = Epoch("")

    def counts_in(self, epoch: Epoch) -> bool:
        """Whether it speaks of the log in this epoch; those from before there were any do."""
        return self.epoch in {"", epoch}


class Position(_Record):
    """`CHECKPOINTS` value of a partition: everything up to it is in the checkpoints and in the directory.

    It is what the epoch of a log goes by (`log_epochs`). The rest is proof: time and message id of the log's
    event there (it is the same log), how many channels had a checkpoint (none is missing), and which
    incarnation of the directory's bucket was complete. `replaced`: the epochs before, oldest first.
    """

    stream_seq: StreamSeq
    at_us: int = 0
    msg_id: str = ""
    channels: int = 0
    directory: str = ""
    epoch: Epoch = Epoch("")
    replaced: tuple[Epoch, ...] = ()


class Belonging(_Record):
    """`DIRECTORY` value: whether the user is a member, since which event of the channel."""

    channel: ChannelId
    member: bool
    role: Role = "member"
    kind: ChannelKind
    seq: Seq
    stream_seq: StreamSeq
    epoch: Epoch = Epoch("")


class PublicChannel(_Record):
    """`DIRECTORY` value below `PUBLIC_CHANNELS`: what a list of channels shows."""

    channel: ChannelId
    name: str
    topic: str
    archived: bool
    members: int
    seq: Seq
    stream_seq: StreamSeq
    epoch: Epoch = Epoch("")


class ReadMarker(_Record):
    """`READS` value: how far a user has read; `messages` counts the channel's messages up to there.

    In another epoch of the log it says nothing: what was read there may be gone.
    """

    channel: ChannelId
    seq: Seq
    messages: int
    epoch: Epoch = Epoch("")


class Head(_Record):
    """The newest event of a channel that the sequencer has seen."""

    workspace: WorkspaceId
    channel: ChannelId
    seq: Seq
    stream_seq: StreamSeq


class Heads(_Record):
    """Broadcast on `heads.<p>` about once a second: the channels that changed, in which epoch of the log."""

    heads: tuple[Head, ...]
    epoch: Epoch = Epoch("")


class Typing(_Record):
    """Broadcast on `ephemeral…`: a user types, for at most `P16`'s six seconds."""

    user: UserId


class HistoryRequest(_Record):
    """A page of a channel's events: the `limit` newest below `before`, or the oldest above `after`.

    Or those `around` a seq: half of them before it, and more from the other side where a log ends.

    `applied` is a position that the answer must cover: the archiver waits until it has it. An archive of
    another epoch than the one that is asked about does not answer.
    """

    workspace: WorkspaceId
    channel: ChannelId
    before: Seq | None = None
    after: Seq | None = None
    around: Seq | None = None
    limit: int = 50
    applied: StreamSeq = StreamSeq(0)
    epoch: Epoch = Epoch("")


class HistoryEvent(_Record):
    """One event of a page: its position, and the stored body with the verdict of the fold."""

    seq: Seq
    stream_seq: StreamSeq
    at_us: int
    body: str
    void: str | None = None


class HistoryPage(_Record):
    """Events in ascending order of seq, without holes; `more` says whether the page was cut."""

    events: tuple[HistoryEvent, ...]
    more: bool


class IdsRequest(_Record):
    """Which of these (author, id) pairs does the channel hold, among all events up to `applied`?"""

    workspace: WorkspaceId
    channel: ChannelId
    applied: StreamSeq
    ids: tuple[tuple[UserId, CommandId], ...]
    epoch: Epoch = Epoch("")


class KnownId(_Record):
    """Where an id stands in the log, and what it says there."""

    seq: Seq
    stream_seq: StreamSeq
    at_us: int
    fingerprint: str
    void: str | None = None


def known_of(recorded: Recorded) -> KnownId:
    """An event as those who ask for its id hear of it."""
    return KnownId(
        seq=recorded.seq,
        stream_seq=recorded.stream_seq,
        at_us=recorded.at_us,
        fingerprint=fingerprint(recorded.event),
        void=recorded.void,
    )


class IdsReply(_Record):
    """Answers in the order of the question; None means absent up to `applied`.

    No id that the channel holds is greater than `greatest`, whoever its author is.
    """

    found: tuple[KnownId | None, ...]
    greatest: str


class CountRequest(_Record):
    """How many messages does the channel hold up to `upto`?"""

    workspace: WorkspaceId
    channel: ChannelId
    upto: Seq
    applied: StreamSeq = StreamSeq(0)
    epoch: Epoch = Epoch("")


class CountReply(_Record):
    """The number of `message.posted` events that are not void."""

    messages: int


class ArchiveStatus(_Record):
    """One partition of the archive: what is in Parquet (`watermark`) and what is known (`applied`)."""

    partition: int
    watermark: StreamSeq
    applied: StreamSeq
    segments: int
    manifest: int
    searchable: StreamSeq | None = None
    """Up to here the search index has it; None while there is none."""


class RebuildRequest(_Record):
    """Make the search index anew, unless that was begun under this name already; and say how far it is."""

    run: str = Field(min_length=1, max_length=64)


class RebuildReply(_Record):
    """Of one process; everyone who answers for the partition has an index of their own."""

    instance: str
    searchable: StreamSeq
    """Up to here the new index has it."""
    applied: StreamSeq


class ArchivedHeadsRequest(_Record):
    """Where do the channels behind this one stand, in the order of their names?"""

    after: tuple[WorkspaceId, ChannelId] | None = None
    upto: StreamSeq = StreamSeq(0)
    """Whoever answers looks for what is archived up to there."""
    epoch: Epoch = Epoch("")


class ArchivedHead(_Record):
    """Where a channel stands in the archive, and its state there."""

    workspace: WorkspaceId
    channel: ChannelId
    seq: Seq
    stream_seq: StreamSeq
    state: ChannelState | None


class ArchivedHeads(_Record):
    """A page of them. `epoch` names the log that was archived.

    Every channel with an event up to `watermark` is in one of the pages, at its last event up to there or at
    a later one.
    """

    epoch: Epoch
    watermark: StreamSeq
    heads: tuple[ArchivedHead, ...]
    more: bool


class ReadableRequest(_Record):
    """Which channels of this partition may the user read, as of now? Those behind `after`, by name."""

    workspace: WorkspaceId
    user: UserId
    after: ChannelId | None = None
    epoch: Epoch = Epoch("")


class ReadableReply(_Record):
    """A page of them, in order."""

    channels: tuple[ChannelId, ...]
    more: bool


class Failure(_Record):
    """Takes the place of a reply. `place`: offset and length of what is wrong in a query."""

    error: Literal[
        "unavailable", "bad_request", "bad_query", "query_limit", "rate_limited", "too_large", "internal"
    ]
    message: str
    retry_after_ms: int | None = None
    limit: str | None = None
    place: tuple[int, int] | None = None
