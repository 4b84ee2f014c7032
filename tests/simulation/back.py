"""The sequencer behind the edges, over the same log, and how it and the archiver follow that log."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import cast

from sequencer.core.belongings import entries
from sequencer.core.ledger import BEFORE_ALL, Change, Ledger
from shared.bus import Bus as RealBus
from shared.envelope import Message, StoredMessage
from shared.ids import ChannelKey, StreamSeq
from shared.puller import Follower
from shared.records import Belonging, Checkpoint
from shared.records import Head as Announced
from tests.simulation.bus import PARTITION, Log
from tests.simulation.model import Truth, promise


class Pull:
    """A real follower, whose consumer loses, doubles and reorders what it sends."""

    def __init__(self, log: Log, start: int) -> None:
        self._log = log
        self._follower = Follower(cast(RealBus, None), "LOG_0", StreamSeq(start))
        self._sent = start - 1

    def take(self, how: int) -> list[StoredMessage]:
        """What one request brings; after a hole the consumer starts again at the last proven position."""
        follower = self._follower
        if follower._broken:
            follower._broken, self._sent = False, follower.position
        messages = self._log.stored[self._sent : self._sent + 1 + how % 7]
        self._sent += len(messages)
        fate = how // 7 % 8
        if fate == 1 and messages:
            messages.pop(len(messages) // 2)
        elif fate == 2:
            messages = [*messages, *messages[-2:]]
        elif fate == 3:
            messages.reverse()
        for stored in messages:
            reply = f"$JS.ACK.LOG_0.c.1.{stored.stream_seq}.1.{stored.at_us * 1000}.0"
            follower._receive(Message(stored.subject, stored.body, {}, reply))
        if not messages and how % 3 == 0:
            follower._break()  # it fell silent
        found = list(follower._buffer)
        follower._buffer.clear()
        return found


@dataclass
class Bucket:
    """CHECKPOINTS: a value is never replaced by an older one."""

    position: StreamSeq = BEFORE_ALL
    at_us: int = 0
    checkpoints: dict[ChannelKey, Checkpoint] = field(default_factory=dict)

    def copy(self) -> Bucket:
        return dataclasses.replace(self, checkpoints=dict(self.checkpoints))


class Sequencer:
    """A ledger, its bucket, and what it tells."""

    def __init__(self, log: Log, truths: dict[ChannelKey, Truth]) -> None:
        self._log = log
        self._truths = truths
        self.bucket = Bucket()
        self._backups = [self.bucket.copy()]
        self.directory: dict[tuple[ChannelKey, str], Belonging] = {}
        self.news: list[tuple[ChannelKey, str, Belonging]] = []
        self.heads: list[Announced] = []
        self._begin(self.bucket)

    def _begin(self, bucket: Bucket) -> None:
        self.ledger = Ledger(
            PARTITION, 1, position=bucket.position, at_us=bucket.at_us, checkpoints=bucket.checkpoints.items()
        )
        self._pull = Pull(self._log, self.ledger.position + 1)

    def crash(self, which: int) -> None:
        """Start again, from the bucket or from an older copy of it."""
        usable = [old for old in [*self._backups, self.bucket] if old.position + 1 >= self._log.floor]
        self.bucket = usable[-1 - which % min(3, len(usable))].copy()
        self._begin(self.bucket)

    def follow(self, how: int) -> None:
        """Fold what a request brings."""
        for change in self.ledger.fold(self._pull.take(how)):
            self._compare(change)
            for entry in entries(change):
                if entry.user is not None and isinstance(entry.record, Belonging):
                    self._list(entry.channel, entry.user, entry.record)
        self.heads += self.ledger.take_unannounced()

    def _list(self, key: ChannelKey, user: str, belonging: Belonging) -> None:
        old = self.directory.get((key, user))
        if old is None or old.stream_seq < belonging.stream_seq:
            self.directory[key, user] = belonging
            self.news.append((key, user, belonging))

    def _compare(self, change: Change) -> None:
        at = change.recorded
        facts = self._truths[at.key].facts
        promise(at.seq <= len(facts), f"the ledger counts {at.key.channel}/{at.seq}")
        fact = facts[at.seq - 1]
        said = (at.stream_seq, at.event.id, at.void, change.state)
        promise(
            said == (fact.stream_seq, fact.id, fact.void, fact.state),
            f"ledger: {at.key.channel}/{at.seq} at {at.stream_seq}; the log has it at {fact.stream_seq}",
        )

    def save(self, how: int) -> None:
        """A round of checkpoints; it may die before the position, or in the middle."""
        unsaved = self.ledger.take_unsaved()
        written = unsaved.checkpoints if how % 4 else unsaved.checkpoints[: how // 4 % 3]
        for key, checkpoint in written:
            old = self.bucket.checkpoints.get(key)
            if old is None or old.stream_seq < checkpoint.stream_seq:
                self.bucket.checkpoints[key] = checkpoint
        if how % 4:
            self.bucket.position, self.bucket.at_us = unsaved.position, unsaved.at_us
            self._backups = [*self._backups[-4:], self.bucket.copy()]
        else:
            self.ledger.unsave(unsaved)
