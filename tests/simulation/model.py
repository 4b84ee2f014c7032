"""The reference: the log itself, and for each client what it must have been told of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from shared import events as e
from shared.channel import ChannelState, fold
from shared.envelope import StoredMessage
from shared.ids import ChannelId, ChannelKey, CommandId, Epoch, UserId


class Violation(AssertionError):
    """A promise is broken."""


def promise(holds: object, what: str) -> None:
    """Raise `Violation` unless it holds."""
    if not holds:
        raise Violation(what)


Name = tuple[UserId, CommandId]


@dataclass(frozen=True, slots=True)
class Fact:
    """An event as the log has it: the truth about its number, its verdict and the state behind it."""

    seq: int
    stream_seq: int
    at_us: int
    event: e.Event
    void: str | None
    state: ChannelState | None

    @property
    def id(self) -> CommandId:
        """Of the command that it is from."""
        return self.event.id


@dataclass(slots=True)
class Truth:
    """One channel in one epoch."""

    key: ChannelKey
    facts: list[Fact] = field(default_factory=list)
    named: dict[Name, Fact] = field(default_factory=dict)
    """By author and id: what must never stand twice in a log."""

    def record(self, stored: StoredMessage) -> None:
        """The log has one event more."""
        event = e.decode(stored.body)
        state, void = fold(self.facts[-1].state if self.facts else None, event)
        fact = Fact(len(self.facts) + 1, stored.stream_seq, stored.at_us, event, void, state)
        self.facts.append(fact)
        if event.kind != "unreadable":
            twice = self.named.setdefault((event.author, event.id), fact)
            is_void = event.kind == "channel.created" and void is not None  # see `edge.creation.Fronts`
            promise(
                twice is fact or is_void,
                f"{self.key.channel}: {event.id} stands at {twice.seq} and at {fact.seq}",
            )

    def state_at(self, stream_seq: int) -> tuple[int, ChannelState | None]:
        """The number of the last event up to a position of the log, and the state behind it."""
        seq = sum(fact.stream_seq <= stream_seq for fact in self.facts)
        return seq, self.facts[seq - 1].state if seq else None

    def is_member(self, user: UserId, seq: int) -> bool:
        """Whether the user is a member behind this event."""
        state = self.facts[seq - 1].state if seq else None
        return state is not None and user in state.members

    def last_of(self, user: UserId, head: int) -> int:
        """The last event that the user may see, of those up to `head`: the end of the membership, or all."""
        seq = head
        while seq and not self.is_member(user, seq):
            seq -= 1
        return head if self.is_member(user, head) else seq + 1


@dataclass(slots=True)
class Place:
    """Where a client stands in a channel."""

    epoch: Epoch
    seq: int


@dataclass(slots=True)
class Question:
    """A cursor that the client has sent; `begun` once its answer has."""

    epoch: Epoch
    seq: int
    begun: bool = False


class Client:
    """A user's program: it reads frames, and believes none of them."""

    def __init__(self, user: UserId) -> None:
        self.user = user
        self.places: dict[ChannelId, Place] = {}
        self.kept: dict[ChannelId, Place] = {}
        """What it has really read, or an older copy of that: it comes back with these."""
        self.asked: dict[ChannelId, Question] = {}
        self.may_go_unanswered: set[ChannelId] = set()
        self.delivered = 0

    def ask(self, channel: ChannelId, cursor: Place) -> None:
        """It asks for everything after the cursor."""
        self.asked[channel] = Question(cursor.epoch, cursor.seq)
        self.may_go_unanswered.discard(channel)

    def lost_connection(self) -> None:
        """What it was sent and has not read is gone."""
        self.places.clear()
        self.asked.clear()

    def receive(self, frame: bytes, truths: dict[tuple[Epoch, ChannelId], Truth], heads: Heads) -> None:
        """One message of the socket."""
        found = orjson.loads(frame)
        for item in found if isinstance(found, list) else [found]:
            match item["type"]:
                case "event":
                    self._event(item, truths, heads)
                case "channels":
                    for info in item["channels"]:
                        self.places[info["id"]] = Place(info["epoch"], info["head"])
                case "channel" if item["member"]:
                    info = item["channel"]
                    self.places[info["id"]] = Place(info["epoch"], info["head"])
                case "channel":
                    self._ended(item["channel"]["id"], truths)
                case "resumed":
                    self._resumed(item)
                case "reset":
                    self._reset(item)
                case other:
                    raise Violation(f"{self.user} was sent {other}")

    def _event(
        self, item: dict[str, object], truths: dict[tuple[Epoch, ChannelId], Truth], heads: Heads
    ) -> None:
        channel, seq = ChannelId(str(item["channel"])), int(str(item["seq"]))
        asked = self.asked.get(channel)
        if asked is not None and not asked.begun and seq == asked.seq + 1:
            self.places[channel] = Place(asked.epoch, asked.seq)
            asked.begun = True
        place = self.places.get(channel)
        promise(place is not None, f"{self.user} was sent {channel}/{seq} unasked")
        assert place is not None
        promise(seq == place.seq + 1, f"{self.user} was sent {channel}/{seq} after {place.seq}")
        truth = truths[place.epoch, channel]
        promise(seq <= len(truth.facts), f"{channel}/{seq} is not in the log")
        fact = truth.facts[seq - 1]
        promise(item["id"] == fact.id, f"{channel}/{seq} is {fact.id}, {self.user} was sent {item['id']}")
        promise((item["kind"] == "void") == (fact.void is not None), f"{channel}/{seq}: {fact.void}")
        last = truth.last_of(self.user, max(heads.of(channel), seq))
        promise(seq <= last, f"{self.user} was removed with {channel}/{last} and was sent {seq}")
        place.seq = seq
        self.delivered += 1

    def _ended(self, channel: ChannelId, truths: dict[tuple[Epoch, ChannelId], Truth]) -> None:
        place = self.places.pop(channel, None)
        promise(place, f"{self.user} was told of an end of {channel} and is not there")
        assert place is not None
        truth = truths[place.epoch, channel]
        # Without the removal itself only if the feed was lost meanwhile: then the end alone is told.
        over = {truth.is_member(self.user, seq) for seq in (place.seq, len(truth.facts))}
        promise(False in over, f"{self.user} was told of an end of {channel} that is none")
        self.may_go_unanswered.add(channel)

    def _resumed(self, item: dict[str, object]) -> None:
        channel, gap = ChannelId(str(item["channel"])), item.get("gap")
        asked = self.asked.pop(channel, None)
        place = self.places.get(channel)
        if asked is not None and not asked.begun and place is not None:
            place.seq = asked.seq
        if gap is None:
            promise(place is not None and asked is not None, f"{channel}: resumed without a question")
            assert place is not None
            count = place.seq - int(str(item["from"]))
            promise(item["to"] == place.seq, f"{channel}: resumed to {item['to']}, read {place.seq}")
            promise(item["count"] == count, f"{channel}: {item['count']} counted, {count} read")
            return
        assert isinstance(gap, dict)
        if gap.get("to") is None:
            self.places.pop(channel, None)
        elif place is not None:
            promise(gap["from"] == place.seq, f"{channel}: a gap from {gap['from']}, read {place.seq}")
            place.seq = gap["to"]

    def _reset(self, item: dict[str, object]) -> None:
        channel = ChannelId(str(item["channel"]))
        self.places[channel] = Place(Epoch(str(item["epoch"])), int(str(item["head"])))
        if item["reason"] == "log_regressed":
            self.may_go_unanswered.add(channel)
        else:
            self.asked.pop(channel, None)


class Heads:
    """How far the edge of a session has come in each channel."""

    def of(self, channel: ChannelId) -> int:
        raise NotImplementedError
