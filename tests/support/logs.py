"""Logs for tests: any sequence of events, sensible or not, as a partition's stream would hold it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hypothesis import strategies as st

from shared import events as e
from shared.channel import ChannelState, fold
from shared.envelope import StoredMessage
from shared.ids import (
    ChannelId,
    ChannelKey,
    CommandId,
    Partition,
    Seq,
    StreamSeq,
    UserId,
    WorkspaceId,
    derived_command_id,
)
from shared.records import Checkpoint
from shared.subjects import channel_subject, parse_channel_subject, partition_of

PARTITIONS = 4
PARTITION = Partition(2)
START_US = 1_790_000_000_000_000
USERS = [UserId(name) for name in ("ann", "bo", "cy")]


def command(number: int) -> CommandId:
    """A command id that is the same in every run."""
    return derived_command_id(1_790_000_000_000, str(number))


def channels_of(partition: Partition, partitions: int, count: int, prefix: str = "c") -> list[ChannelKey]:
    """The first `count` channels c1, c2, … that belong to a partition."""
    keys = (ChannelKey(WorkspaceId("w"), ChannelId(f"{prefix}{n}")) for n in itertools.count())
    return list(itertools.islice((key for key in keys if partition_of(key, partitions) == partition), count))


CHANNELS = channels_of(PARTITION, PARTITIONS, 3)
FOREIGN = channels_of(Partition(0), PARTITIONS, 1)[0]
STRAYS = [
    f"channel.{PARTITION}.w.*",
    f"channel.{PARTITION}.w",
    f"channel.{PARTITION}.w.a.b",
    channel_subject(PARTITION, FOREIGN),
]


class Numbered(NamedTuple):
    """What the definition says about one event of a log."""

    subject: str
    seq: int
    stream_seq: int
    state: ChannelState | None
    void: str | None


def stream(bodies: Iterable[tuple[str, bytes]], *, first: int = 1) -> list[StoredMessage]:
    """(subject, body) pairs as stored messages with consecutive sequences."""
    return [
        StoredMessage(subject, body, {}, StreamSeq(number), START_US + number * 1000)
        for number, (subject, body) in enumerate(bodies, first)
    ]


def defined(log: Sequence[StoredMessage]) -> list[Numbered]:
    """The definition, word for word: seq = how many events of that channel there are up to this one."""
    numbered = []
    for index, stored in enumerate(log):
        if stored.subject in STRAYS:
            continue
        own = [other for other in log[: index + 1] if other.subject == stored.subject]
        state: ChannelState | None = None
        void = None
        for event in own:
            state, void = fold(state, e.decode(event.body))
        numbered.append(Numbered(stored.subject, len(own), stored.stream_seq, state, void))
    return numbered


def checkpoint_at(
    numbers: Iterable[Numbered], subject: str, upto: int
) -> tuple[ChannelKey, Checkpoint] | None:
    """The channel's checkpoint as anybody who has read the log up to `upto` would write it."""
    own = [number for number in numbers if number.subject == subject and number.stream_seq <= upto]
    if not own:
        return None
    last = own[-1]
    checkpoint = Checkpoint(seq=Seq(last.seq), stream_seq=StreamSeq(last.stream_seq), state=last.state)
    return parse_channel_subject(subject)[1], checkpoint


@st.composite
def events(draw: st.DrawFn) -> e.KnownEvent:
    """Any event by anybody: many are void where they stand."""
    author = draw(st.sampled_from(USERS))
    user = draw(st.sampled_from(USERS))
    who = {"id": command(draw(st.integers(0, 5))), "author": author}
    kind = draw(st.sampled_from(("public", "private", "direct")))
    choices: list[e.KnownEvent] = [
        e.ChannelCreated(**who, channel_kind=kind, name="n", members=tuple({author, user})),
        e.MessagePosted(**who, text="t"),
        e.MessageEdited(**who, ref=Seq(1), ref_author=user, text="u"),
        e.MessageDeleted(**who, ref=Seq(1), ref_author=user),
        e.ReactionAdded(**who, ref=Seq(1), emoji="+"),
        e.MemberJoined(**who),
        e.MemberLeft(**who),
        e.MemberInvited(**who, user=user),
        e.MemberRemoved(**who, user=user),
        e.MemberRoleChanged(**who, user=user, role="admin"),
        e.ChannelRenamed(**who, name="m"),
        e.ChannelTopicSet(**who, topic="s"),
        e.ChannelArchived(**who),
        e.ChannelUnarchived(**who),
        e.PinAdded(**who, ref=Seq(2)),
    ]
    return draw(st.sampled_from(choices))


def logs(*, max_size: int = 40) -> st.SearchStrategy[list[StoredMessage]]:
    """A partition's stream: three channels, strays, and bodies that are no events."""
    bodies = st.one_of(events().map(e.encode), st.binary(max_size=20))
    subjects = st.sampled_from([channel_subject(PARTITION, key) for key in CHANNELS] * 3 + STRAYS)
    created = e.encode(e.ChannelCreated(id=command(0), author=USERS[0], channel_kind="public", name="n"))
    opening = st.lists(
        st.sampled_from([(channel_subject(PARTITION, key), created) for key in CHANNELS]), max_size=3
    )
    rest = st.lists(st.tuples(subjects, bodies), max_size=max_size)
    return st.builds(lambda head, tail: stream([*head, *tail]), opening, rest)
