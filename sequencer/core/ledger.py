"""The ledger of one partition: which number every event has, and what state every channel is in.

    seq(event) = how many events of that channel are in the log up to and including it

The ledger takes the partition's stream in order and counts. Two facts keep the count right. The stream's
sequences are contiguous (nothing is ever deleted from its middle), so a hole can be seen and is refused. And
a checkpoint (seq, stream_seq, state) of a channel is true wherever it came from and whenever it was written,
so a ledger may start from checkpoints of different ages: events at or below a channel's checkpoint are
already in it and are skipped. What lies between the partition's position and the checkpoints ahead of it is
read again, and changes nothing.

A subject that names no channel of this partition is stray: nobody reads it, it has no number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from shared.channel import ChannelState, fold
from shared.envelope import StoredMessage
from shared.errors import InvalidId, LogRegressed
from shared.events import Recorded, decode
from shared.ids import ChannelKey, Epoch, Partition, Seq, StreamSeq
from shared.records import Checkpoint, Head
from shared.subjects import channel_subject, parse_channel_subject, partition_of

BEFORE_ALL = StreamSeq(0)
NO_EPOCH = Epoch("")


@dataclass(frozen=True, slots=True)
class Change:
    """An event with its number and verdict, the channel's state after it, and the epoch of the log."""

    recorded: Recorded
    state: ChannelState | None
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Unsaved:
    """What has to be written so that a ledger can start at `position`: the checkpoints first, then it."""

    position: StreamSeq
    at_us: int
    msg_id: str
    channels: int
    checkpoints: Sequence[tuple[ChannelKey, Checkpoint]]


class _Channel:
    __slots__ = ("key", "seq", "state", "stream_seq")

    def __init__(self, key: ChannelKey, checkpoint: Checkpoint | None = None) -> None:
        self.key = key
        self.seq = checkpoint.seq if checkpoint else Seq(0)
        self.stream_seq = checkpoint.stream_seq if checkpoint else StreamSeq(0)
        self.state = checkpoint.state if checkpoint else None

    def checkpoint(self, epoch: Epoch) -> Checkpoint:
        return Checkpoint(seq=self.seq, stream_seq=self.stream_seq, state=self.state, epoch=epoch)

    def head(self) -> Head:
        return Head(
            workspace=self.key.workspace,
            channel=self.key.channel,
            seq=self.seq,
            stream_seq=self.stream_seq,
        )


class Ledger:
    """Numbers and states of one partition at `position`; `fold` moves it on."""

    def __init__(
        self,
        partition: Partition,
        partitions: int,
        *,
        position: StreamSeq = BEFORE_ALL,
        at_us: int = 0,
        msg_id: str = "",
        epoch: Epoch = NO_EPOCH,
        checkpoints: Iterable[tuple[ChannelKey, Checkpoint]] = (),
    ) -> None:
        self.partition = partition
        self.position = position
        self.at_us = at_us
        self.msg_id = msg_id
        self.epoch = epoch
        self.strays = 0
        self.skipped = 0
        self._partitions = partitions
        self._channels: dict[str, _Channel] = {}
        self._expected: dict[StreamSeq, str] = {}
        """Checkpoints ahead of the position: which subject must stand there."""
        self._unsaved: dict[str, _Channel] = {}
        self._unannounced: dict[str, _Channel] = {}
        for key, checkpoint in checkpoints:
            subject = channel_subject(partition, key)
            self._channels[subject] = _Channel(key, checkpoint)
            if checkpoint.stream_seq > position:
                self._expected[checkpoint.stream_seq] = subject

    def __len__(self) -> int:
        return len(self._channels)

    @property
    def claimed(self) -> StreamSeq:
        """The highest position that a checkpoint speaks of: the log must reach at least this far."""
        return max(self._expected, default=self.position)

    def fold(self, batch: Iterable[StoredMessage]) -> list[Change]:
        """Count a stretch of the stream; what is at or below `position` is ignored.

        Raises `LogRegressed` at a hole, or where a checkpoint speaks of another event than the log holds;
        everything before that place has been counted, nothing after it.
        """
        changes: list[Change] = []
        for stored in batch:
            if stored.stream_seq <= self.position:
                continue
            self._prove(stored)
            change = self._record(stored)
            self.position = stored.stream_seq
            self.at_us = stored.at_us
            self.msg_id = stored.headers.get("Nats-Msg-Id", "")
            if change is not None:
                changes.append(change)
        return changes

    def _prove(self, stored: StoredMessage) -> None:
        if stored.stream_seq != self.position + 1:
            raise LogRegressed(
                f"partition {self.partition}: {stored.stream_seq} follows {self.position}; the log has a hole"
            )
        if self._expected:
            expected = self._expected.pop(stored.stream_seq, stored.subject)
            if expected != stored.subject:
                raise LogRegressed(
                    f"partition {self.partition}: a checkpoint says that {stored.stream_seq} is on "
                    f"{expected}, the log says {stored.subject}: the checkpoints belong to another log"
                )

    def _record(self, stored: StoredMessage) -> Change | None:
        channel = self._channels.get(stored.subject) or self._open(stored.subject)
        if channel is None:
            self.strays += 1
            return None
        if stored.stream_seq <= channel.stream_seq:
            self.skipped += 1
            return None
        event = decode(stored.body)
        channel.state, void = fold(channel.state, event)
        channel.seq = Seq(channel.seq + 1)
        channel.stream_seq = stored.stream_seq
        self._unsaved[stored.subject] = channel
        self._unannounced[stored.subject] = channel
        recorded = Recorded(channel.key, channel.seq, stored.stream_seq, stored.at_us, event, void)
        return Change(recorded, channel.state, self.epoch)

    def _open(self, subject: str) -> _Channel | None:
        """A channel seen for the first time; None if the subject is stray."""
        try:
            partition, key = parse_channel_subject(subject)
        except InvalidId:
            return None
        if partition != self.partition or partition_of(key, self._partitions) != partition:
            return None
        channel = self._channels[subject] = _Channel(key)
        return channel

    def take_unsaved(self) -> Unsaved:
        """What changed since the last call. If writing it fails, say so with `unsave`."""
        channels, self._unsaved = self._unsaved, {}
        return Unsaved(
            position=self.position,
            at_us=self.at_us,
            msg_id=self.msg_id,
            channels=len(self._channels),
            checkpoints=[(channel.key, channel.checkpoint(self.epoch)) for channel in channels.values()],
        )

    def unsave(self, unsaved: Unsaved) -> None:
        """Writing failed: these channels have to be saved again, in whatever state they are by then."""
        for key, _ in unsaved.checkpoints:
            subject = channel_subject(self.partition, key)
            self._unsaved[subject] = self._channels[subject]

    def unsave_all(self) -> None:
        """All checkpoints were lost: every channel has to be saved again."""
        self._unsaved = dict(self._channels)

    def take_unannounced(self) -> list[Head]:
        """The heads of the channels that changed since the last call."""
        channels, self._unannounced = self._unannounced, {}
        return [channel.head() for channel in channels.values()]

    def unannounce(self, heads: Iterable[Head]) -> None:
        """Telling failed: these channels have to be announced again, at whatever head they are by then."""
        for head in heads:
            subject = channel_subject(self.partition, ChannelKey(head.workspace, head.channel))
            self._unannounced[subject] = self._channels[subject]

    def checkpoints(self) -> Iterator[tuple[ChannelKey, Checkpoint]]:
        """Every channel as it is now."""
        for channel in list(self._channels.values()):
            yield channel.key, channel.checkpoint(self.epoch)
