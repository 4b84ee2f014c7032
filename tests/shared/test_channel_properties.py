"""The channel fold under any history: determined by the log alone, bounded, and kept by checkpoints."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from shared import channel as c
from shared import events as e
from shared.ids import Seq, StreamSeq, UserId, user_id
from shared.records import Checkpoint
from tests.support.events import any_event, example, users

FEW = st.sampled_from([UserId(name) for name in ("alice", "bob", "carol", "eve")])
CREATED = st.sampled_from(["public", "private", "direct"]).map(
    lambda kind: example(e.ChannelCreated, channel_kind=kind, members=("alice", "bob"))
)
HISTORIES = st.tuples(CREATED, st.lists(any_event(FEW) | st.just(e.Unreadable()), max_size=25))


def run(history: tuple[e.Event, list[e.Event]]) -> tuple[c.ChannelState, list[str | None]]:
    """The state after a history, and the verdicts on the way."""
    state, voids = c.apply(None, history[0]), []
    for event in history[1]:
        state, void = c.fold(state, event)
        voids.append(void)
    assert state is not None
    return state, voids


@given(HISTORIES)
def test_the_fold_is_a_function_of_the_log(history: tuple[e.Event, list[e.Event]]) -> None:
    """Who folds the same log, also one read back from storage, gets the same state and verdicts."""
    state, voids = run(history)
    stored = [event if isinstance(event, e.Unreadable) else e.decode(e.encode(event)) for event in history[1]]
    assert run((history[0], stored)) == (state, voids)


@given(HISTORIES, st.integers(0, 25))
def test_a_checkpoint_is_as_good_as_the_log(history: tuple[e.Event, list[e.Event]], cut: int) -> None:
    """Folding on from a stored state equals folding from the beginning."""
    middle, before = run((history[0], history[1][:cut]))
    state: c.ChannelState | None = c.load_state(c.dump_state(middle))
    assert state == middle
    for event in history[1][cut:]:
        state, void = c.fold(state, event)
        before.append(void)
    assert (state, before) == run(history)


@given(HISTORIES)
def test_void_events_leave_no_trace(history: tuple[e.Event, list[e.Event]]) -> None:
    """Leaving out what was void makes no difference to the state."""
    state, voids = run(history)
    valid = [event for event, void in zip(history[1], voids, strict=True) if void is None]
    assert run((history[0], valid))[0] == state


@given(HISTORIES)
def test_only_posted_messages_count(history: tuple[e.Event, list[e.Event]]) -> None:
    """`messages` is the number of posted messages that are not void: unread is a difference (AT-21)."""
    state, voids = run(history)
    posted = [event for event, void in zip(history[1], voids, strict=True) if void is None]
    assert state.messages == sum(isinstance(event, e.MessagePosted) for event in posted)


@given(HISTORIES)
def test_a_state_is_never_changed_in_place(history: tuple[e.Event, list[e.Event]]) -> None:
    """An older state that somebody still holds keeps its content."""
    state = c.apply(None, history[0])
    for event in history[1]:
        assert state is not None
        frozen = c.dump_state(state)
        after = c.apply(state, event)
        assert c.dump_state(state) == frozen
        state = after


@settings(max_examples=30)
@given(st.lists(users(), min_size=1, max_size=30, unique=True))
def test_any_user_survives_a_checkpoint(people: list[UserId]) -> None:
    """Members of any name come back from a checkpoint."""
    state = c.ChannelState("public", "n", people[0], members=dict.fromkeys(people, "member"))
    assert c.load_state(c.dump_state(state)) == state


def test_members_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full channel takes nobody more, by any door, and goes on working."""
    monkeypatch.setattr(c, "MEMBERS_MAX", 2)
    made = example(e.ChannelCreated, members=("alice", "bob"))
    full = c.apply(None, made)
    assert full is not None
    for event in (example(e.MemberJoined, "eve"), example(e.MemberInvited, user="eve")):
        assert c.fold(full, event) == (full, "channel is full")
    assert c.judge(None, example(e.ChannelCreated, members=("a", "b", "c"))) == "channel is full"
    assert c.judge(full, example(e.MessagePosted)) is None


def test_who_is_in_a_full_channel_may_be_invited_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """That changes nothing, so there is room for it."""
    monkeypatch.setattr(c, "MEMBERS_MAX", 2)
    full = c.apply(None, example(e.ChannelCreated, members=("alice", "bob")))
    assert c.fold(full, example(e.MemberInvited, user="bob")) == (full, None)


ODD = st.text(st.sampled_from('ab"\\/é☕𝕏\x80\u2028'), min_size=1, max_size=60).map(user_id)
"""Everything that JSON may escape, and characters of every length."""


@given(st.lists(any_event(ODD), max_size=25))
def test_what_members_take_is_counted(events: list[e.KnownEvent]) -> None:
    """The running count is the bytes that they take in a checkpoint, whatever happened."""
    state = c.apply(None, example(e.ChannelCreated, members=("x", 'y"')))
    for event in events:
        state = c.apply(state, event)
        assert state is not None
        alike = replace(state, members=dict.fromkeys(state.members, "member"))
        none = replace(state, members={})
        commas = max(0, len(state.members) - 1)
        taken = len(c.dump_state(alike)) - len(c.dump_state(none))
        assert state.members_bytes == taken - commas + len(state.members)
    assert state is not None
    assert c.load_state(c.dump_state(state)).members_bytes == state.members_bytes


def largest(people: Iterator[str]) -> c.ChannelState:
    """A channel with all that fits in: members until one is refused, name, topic and pins at their bounds."""
    state = c.apply(None, example(e.ChannelCreated, name="\x01" * 128, topic="\x01" * 1024))
    void = None
    while void is None:
        state, void = c.fold(state, example(e.MemberJoined, next(people)))
    assert void == "channel is full"
    assert state is not None
    return replace(state, messages=2**53, pins=tuple(range(2**53 - c.PINS_MAX, 2**53)), archived=True)


@pytest.mark.parametrize("letter", ['"', "\\", "x", "☕", "é"])
def test_the_largest_checkpoint_fits_into_a_message(letter: str) -> None:
    """Members with the longest ids, escaped too, are refused before a checkpoint outgrows NATS's 1 MiB."""
    filler = letter * (250 // len(letter.encode()))
    state = largest(f"{number:05}{filler}" for number in itertools.count())
    body = Checkpoint(seq=Seq(2**53), stream_seq=StreamSeq(2**53), state=state).model_dump_json().encode()
    assert 880_000 < len(body) < 900 * 1024


def test_ten_thousand_ordinary_members_fit() -> None:
    """Ids as identity providers make them (UUIDs, mail addresses) meet the bound of the count first."""
    state = largest(f"{number:05}-some.long.name@mail.example.org" for number in itertools.count())
    assert len(state.members) == c.MEMBERS_MAX


def test_a_creation_is_bounded_by_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The members that a channel begins with count in the same way."""
    monkeypatch.setattr(c, "MEMBERS_BYTES_MAX", 2 * len('"alice":"member",'))
    assert c.judge(None, example(e.ChannelCreated, members=("alice", "robin"))) is None
    assert c.judge(None, example(e.ChannelCreated, members=("robins",))) == "channel is full"


def test_pins_are_bounded() -> None:
    """At the bound another pin is void; one that is there already, and removal, still work."""
    state = c.apply(None, example(e.ChannelCreated))
    assert state is not None
    full = replace(state, pins=tuple(range(1, c.PINS_MAX + 1)))
    assert c.judge(full, example(e.PinAdded, ref=1000)) == "too many pins"
    assert c.judge(full, example(e.PinAdded, ref=1)) is None
    assert c.judge(full, example(e.PinRemoved, ref=1)) is None


IMPORTED = {"imported": {"by": "importer", "at": "2004-11-09T00:00:00Z"}}


def test_an_import_needs_no_membership() -> None:
    """The importer's right was checked by its token; the state only says what is impossible."""
    state = c.apply(None, example(e.ChannelCreated, channel_kind="private"))
    assert c.judge(state, example(e.MessagePosted, "eve")) == "author is not a member"
    assert c.judge(state, example(e.MessagePosted, "eve", **IMPORTED)) is None
    assert c.judge(state, example(e.MemberJoined, "eve", **IMPORTED)) is None
    assert c.judge(state, example(e.MemberRemoved, "eve", user="zoe", **IMPORTED)) == "no such member"


def test_an_import_cannot_open_what_is_archived() -> None:
    """An archived channel takes no imported message either."""
    state = c.apply(None, example(e.ChannelCreated))
    archived = c.apply(state, example(e.ChannelArchived))
    assert c.judge(archived, example(e.MessagePosted, "eve", **IMPORTED)) == "channel is archived"
