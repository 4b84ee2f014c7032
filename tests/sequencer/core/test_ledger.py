"""The ledger: numbers and states are a function of the log alone, from wherever one starts."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sequencer.core.ledger import Change, Ledger
from shared.envelope import StoredMessage
from shared.errors import LogRegressed
from shared.events import ChannelCreated, MessagePosted, encode
from shared.ids import Seq, StreamSeq
from shared.records import Checkpoint
from shared.subjects import channel_subject
from tests.support.logs import (
    CHANNELS,
    PARTITION,
    PARTITIONS,
    START_US,
    STRAYS,
    USERS,
    Numbered,
    checkpoint_at,
    command,
    defined,
    logs,
    stream,
)

SUBJECTS = [channel_subject(PARTITION, key) for key in CHANNELS]
ONE, TWO, THREE = CHANNELS
CREATED = encode(ChannelCreated(id=command(1), author=USERS[0], channel_kind="public", name="one"))
POSTED = encode(MessagePosted(id=command(2), author=USERS[0], text="hello"))


def fresh() -> Ledger:
    return Ledger(PARTITION, PARTITIONS)


def told(changes: list[Change]) -> list[Numbered]:
    return [
        Numbered(
            channel_subject(PARTITION, change.recorded.key),
            change.recorded.seq,
            change.recorded.stream_seq,
            change.state,
            change.recorded.void,
        )
        for change in changes
    ]


def everything(ledger: Ledger) -> dict[object, Checkpoint]:
    return dict(ledger.checkpoints())


@given(logs())
def test_numbers_are_counts_of_the_log(log: list[StoredMessage]) -> None:
    """The number, verdict and state of every event are those of the definition, void and garbage included."""
    assert told(fresh().fold(log)) == defined(log)


@given(logs(), st.lists(st.integers(0, 50), max_size=6))
def test_batches_do_not_matter(log: list[StoredMessage], cuts: list[int]) -> None:
    """However the stream is cut into batches, the changes and the ledger's end are the same."""
    whole, cut = fresh(), fresh()
    at_once = whole.fold(log)
    edges = [0, *sorted(cuts), len(log)]
    pieces = [cut.fold(log[start:end]) for start, end in itertools.pairwise(edges)]
    assert [change for piece in pieces for change in piece] == at_once
    assert everything(cut) == everything(whole)


@settings(max_examples=200)
@given(logs(), st.data())
def test_any_restart_point_gives_the_same_numbers(log: list[StoredMessage], data: st.DataObject) -> None:
    """From a position and checkpoints as old as it or younger, each by its own age, nothing differs."""
    numbers = defined(log)
    position = data.draw(st.integers(0, len(log)), "position")
    ages = {subject: data.draw(st.integers(position, len(log)), subject) for subject in SUBJECTS}
    saved = [checkpoint_at(numbers, subject, upto) for subject, upto in ages.items()]
    ledger = Ledger(
        PARTITION,
        PARTITIONS,
        position=StreamSeq(position),
        checkpoints=[entry for entry in saved if entry is not None],
    )
    changes = told(ledger.fold(log[position:]))
    assert changes == [number for number in numbers if number.stream_seq > ages[number.subject]]
    whole = fresh()
    whole.fold(log)
    assert everything(ledger) == everything(whole)
    assert ledger.position == len(log)


@given(logs(), st.data())
def test_a_restart_from_what_was_saved_is_exact(log: list[StoredMessage], data: st.DataObject) -> None:
    """What `take_unsaved` gave out, stored and loaded again, continues as if nothing had happened."""
    half = data.draw(st.integers(0, len(log)))
    first = fresh()
    first.fold(log[:half])
    unsaved = first.take_unsaved()
    loaded = [(key, Checkpoint.model_validate_json(c.model_dump_json())) for key, c in unsaved.checkpoints]
    second = Ledger(PARTITION, PARTITIONS, position=unsaved.position, checkpoints=loaded)
    assert second.fold(log[half:]) == first.fold(log[half:])
    assert everything(second) == everything(first)
    assert unsaved.channels == len(loaded)


@given(logs(), st.data())
def test_redelivery_changes_nothing(log: list[StoredMessage], data: st.DataObject) -> None:
    """Events at or below the position are ignored, alone or in front of new ones."""
    half = data.draw(st.integers(0, len(log)))
    again = data.draw(st.integers(0, half))
    ledger, straight = fresh(), fresh()
    ledger.fold(log[:half])
    assert ledger.fold(log[:half]) == []
    ledger.fold(log[again:])
    straight.fold(log)
    assert everything(ledger) == everything(straight)


@given(logs().filter(lambda log: len(log) > 1), st.data())
def test_a_hole_is_refused(log: list[StoredMessage], data: st.DataObject) -> None:
    """A missing sequence raises, and only what stands before it has been counted."""
    missing = data.draw(st.integers(0, len(log) - 2))
    ledger, straight = fresh(), fresh()
    with pytest.raises(LogRegressed, match="hole"):
        ledger.fold(log[:missing] + log[missing + 1 :])
    straight.fold(log[:missing])
    assert ledger.position == missing
    assert everything(ledger) == everything(straight)
    ledger.fold(log)  # and the right stream is still welcome
    assert ledger.position == len(log)


def test_a_checkpoint_of_another_log_is_refused() -> None:
    """Where a checkpoint ahead of the position speaks of one channel and the log of another, it stops."""
    log = stream([(SUBJECTS[0], CREATED), (SUBJECTS[1], CREATED)])
    foreign = Checkpoint(seq=Seq(1), stream_seq=StreamSeq(2), state=None)
    ledger = Ledger(PARTITION, PARTITIONS, checkpoints=[(THREE, foreign)])
    assert ledger.claimed == 2
    with pytest.raises(LogRegressed, match="another log"):
        ledger.fold(log)
    assert ledger.position == 1


def test_claimed_is_the_position_without_younger_checkpoints() -> None:
    """A ledger claims no more of the log than its position when no checkpoint is ahead of it."""
    old = Checkpoint(seq=Seq(1), stream_seq=StreamSeq(3), state=None)
    ledger = Ledger(PARTITION, PARTITIONS, position=StreamSeq(7), checkpoints=[(ONE, old)])
    assert ledger.claimed == 7


def test_strays_have_no_number_and_no_channel() -> None:
    """Subjects that name no channel of this partition are passed over; the position moves on."""
    ledger = fresh()
    assert ledger.fold(stream([(subject, POSTED) for subject in STRAYS])) == []
    assert (len(ledger), ledger.strays, ledger.position) == (0, len(STRAYS), len(STRAYS))
    assert ledger.take_unsaved().checkpoints == []


def test_garbage_takes_a_number_and_stops_nothing() -> None:
    """A body that is no event is void at its number, also as the first of a channel."""
    ledger = fresh()
    changes = ledger.fold(stream([(SUBJECTS[0], b"\xff"), (SUBJECTS[0], CREATED), (SUBJECTS[0], b"{}")]))
    assert [(c.recorded.seq, c.recorded.void) for c in changes] == [
        (1, "unreadable"),
        (2, None),
        (3, "unreadable"),
    ]
    assert everything(ledger)[ONE].state is not None


def test_unsaved_is_what_changed_since_the_last_time() -> None:
    """Each channel once, in its newest state, with the position and the time that cover it."""
    ledger = fresh()
    log = stream([(SUBJECTS[0], CREATED), (SUBJECTS[1], CREATED), (SUBJECTS[0], POSTED), (STRAYS[0], b"")])
    ledger.fold(log)
    unsaved = ledger.take_unsaved()
    assert [(key, c.seq, c.stream_seq) for key, c in unsaved.checkpoints] == [(ONE, 2, 3), (TWO, 1, 2)]
    assert (unsaved.position, unsaved.at_us, unsaved.channels) == (4, START_US + 4000, 2)
    assert ledger.take_unsaved().checkpoints == []
    assert ledger.take_unsaved().position == 4


def test_unsave_gives_back_the_newest_state() -> None:
    """What could not be written is taken again, as it is by then, together with later changes."""
    ledger = fresh()
    log = stream([(SUBJECTS[0], CREATED), (SUBJECTS[1], CREATED), (SUBJECTS[0], POSTED)])
    ledger.fold(log[:1])
    failed = ledger.take_unsaved()
    ledger.fold(log)
    ledger.unsave(failed)
    assert {key: c.seq for key, c in ledger.take_unsaved().checkpoints} == {ONE: 2, TWO: 1}


def test_unsave_all_covers_every_channel() -> None:
    """After the bucket was lost, channels that did not change are written as well."""
    ledger = fresh()
    ledger.fold(stream([(SUBJECTS[0], CREATED), (SUBJECTS[1], CREATED)]))
    ledger.take_unsaved()
    ledger.unsave_all()
    assert [key for key, _ in ledger.take_unsaved().checkpoints] == [ONE, TWO]


def test_heads_are_announced_once() -> None:
    """A changed channel is announced at its newest head, once; again only if telling failed."""
    ledger = fresh()
    ledger.fold(stream([(SUBJECTS[0], CREATED), (SUBJECTS[0], POSTED)]))
    heads = ledger.take_unannounced()
    assert [(head.channel, head.seq, head.stream_seq) for head in heads] == [(ONE.channel, 2, 2)]
    assert ledger.take_unannounced() == []
    ledger.unannounce(heads)
    assert ledger.take_unannounced() == heads


def test_the_past_is_not_changed_by_later_events() -> None:
    """Checkpoints that were taken stay as they are while the ledger goes on."""
    ledger = fresh()
    log = stream([(SUBJECTS[0], CREATED), (SUBJECTS[0], POSTED)])
    ledger.fold(log[:1])
    ((_, before),) = ledger.take_unsaved().checkpoints
    ledger.fold(log)
    assert before.seq == 1
    assert before.state is not None
    assert before.state == replace(before.state, messages=0)
