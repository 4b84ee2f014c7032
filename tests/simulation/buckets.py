"""The buckets of the sequencers: whatever is written there must be true, and must never go back."""

from __future__ import annotations

import functools

from sequencer.core.ledger import BEFORE_ALL, Change
from shared.ids import ChannelKey, StreamSeq, UserId, channel_id, user_from_token, workspace_id
from shared.records import Belonging, Checkpoint, Position
from shared.subjects import CHECKPOINTS, DIRECTORY, checkpoint_key, kv_subject, position_key
from tests.simulation.model import Truth, promise
from tests.simulation.streams import PARTITION, BucketStream
from tests.simulation.turns import strike

_NOWHERE = Position(stream_seq=BEFORE_ALL)


class Buckets:
    """CHECKPOINTS and DIRECTORY."""

    def __init__(self, truths: dict[ChannelKey, Truth]) -> None:
        self._truths = truths
        self.saved = BucketStream(CHECKPOINTS, "checkpoint refused", self._checkpointed)
        self.listed = BucketStream(DIRECTORY, "entry of the directory refused", self._belongs)
        self.was_lost = False
        self.position = _NOWHERE
        self.checkpoints: dict[str, Checkpoint] = {}
        self.directory: dict[str, tuple[ChannelKey, UserId, Belonging]] = {}
        self.news: list[tuple[UserId, Belonging]] = []

    @property
    def complete_up_to(self) -> StreamSeq:
        """The log may be trimmed up to there: everything up to it is in the checkpoints."""
        whole = len(self.checkpoints) >= self.position.channels
        return self.position.stream_seq if whole else BEFORE_ALL

    def _checkpointed(self, key: str, body: bytes) -> None:
        if key == position_key(PARTITION):
            self._positioned(Position.model_validate_json(body))
            return
        it = Checkpoint.model_validate_json(body)
        truth = self._truths[_channel(key)]
        promise(it.seq <= len(truth.facts), f"a checkpoint counts {key}/{it.seq}")
        fact = truth.facts[it.seq - 1]
        promise(
            (it.stream_seq, it.state) == (fact.stream_seq, fact.state),
            f"checkpoint: {key}/{it.seq} at {it.stream_seq}; the log has it at {fact.stream_seq}",
        )
        old = self.checkpoints.get(key)
        promise(old is None or old.stream_seq < it.stream_seq, f"the head of {key} goes back to {it.seq}")
        self.checkpoints[key] = it

    def _positioned(self, position: Position) -> None:
        promise(position.stream_seq > self.position.stream_seq, f"back to position {position.stream_seq}")
        self.position = position
        for key, truth in () if self.was_lost else self._truths.items():
            seq, state = truth.state_at(position.stream_seq)
            where = f"position {position.stream_seq} before {key.channel}/{seq}"
            saved = self.checkpoints.get(checkpoint_key(PARTITION, key))
            promise(not seq or (saved is not None and saved.seq >= seq), f"{where} is in a checkpoint")
            for user in state.members if state else ():
                promise(self.belonging(key, user) is not None, f"{where} is in the directory")

    def _belongs(self, key: str, body: bytes) -> None:
        where, who = _belonging(key)
        it = Belonging.model_validate_json(body)
        truth = self._truths[where]
        promise(it.member == truth.is_member(who, it.seq), f"directory: {key} at {it.seq} is not so")
        old = self.directory.get(key)
        promise(old is None or old[2].stream_seq < it.stream_seq, f"{key} goes back to {it.seq}")
        self.directory[key] = where, who, it

    def belonging(self, key: ChannelKey, user: UserId) -> Belonging | None:
        """What the directory says."""
        return next((it for where, who, it in self.directory.values() if (where, who) == (key, user)), None)

    def told(self, subject: str, body: bytes) -> None:
        """A sequencer tells the sessions of a user."""
        who = user_from_token(subject.split(".")[2])
        self.news.append((who, Belonging.model_validate_json(body)))

    def compare(self, change: Change) -> None:
        """What a ledger has counted, against the log."""
        at = change.recorded
        facts = self._truths[at.key].facts
        promise(at.seq <= len(facts), f"the ledger counts {at.key.channel}/{at.seq}")
        fact = facts[at.seq - 1]
        said = (at.stream_seq, at.event.id, at.void, change.state)
        promise(
            said == (fact.stream_seq, fact.id, fact.void, fact.state),
            f"ledger: {at.key.channel}/{at.seq} at {at.stream_seq}; the log has it at {fact.stream_seq}",
        )

    def delete(self, which: int) -> None:
        """Somebody deletes one."""
        if which % 2:
            self.directory.clear()
            self.listed.delete()
        else:
            self.position, self.checkpoints = _NOWHERE, {}
            self.saved.delete()
        self.was_lost = True
        strike("bucket deleted")

    def restore(self, which: int, floor: int) -> None:
        """CHECKPOINTS is as it once was, if the log can still count from there. No sequencer runs."""
        kept = which % (len(self.saved.stored) + 1)
        prefix = kv_subject(CHECKPOINTS, "")
        found = {stored.subject.removeprefix(prefix): stored.body for stored in self.saved.stored[:kept]}
        body = found.pop(position_key(PARTITION), None)
        position = Position.model_validate_json(body) if body else _NOWHERE
        if position.stream_seq + 1 < floor or len(found) < position.channels:
            return
        self.position = position
        self.checkpoints = {key: Checkpoint.model_validate_json(body) for key, body in found.items()}
        self.saved.restore(kept)
        self.was_lost = True
        strike("bucket restored")


@functools.cache
def _channel(key: str) -> ChannelKey:
    _, workspace, channel = key.split(".")
    return ChannelKey(workspace_id(workspace), channel_id(channel))


@functools.cache
def _belonging(key: str) -> tuple[ChannelKey, UserId]:
    workspace, user, channel = key.split(".")
    return ChannelKey(workspace_id(workspace), channel_id(channel)), user_from_token(user)
