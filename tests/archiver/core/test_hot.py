"""Hot events: numbered as the log numbers them, visible until they are committed, then gone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.hot import NOTHING_YET, Hot, key_of_subject
from shared import events as e
from shared.channel import ChannelState, fold
from shared.events import encode
from shared.ids import ChannelKey, Seq, StreamSeq
from tests.support.archive import created, hot_of, key_of, posted
from tests.support.events import any_event

KEYS = [key_of("a"), key_of("b"), key_of("c")]
STEPS = st.lists(
    st.tuples(st.sampled_from(KEYS), any_event().map(encode) | st.just(b"garbage"))
    | st.sampled_from(["cut", "drop"]),
    max_size=40,
)


@given(STEPS)
def test_numbers_and_verdicts_are_the_folds(steps: list[object]) -> None:
    """Whatever is cut and dropped in between, seqs, verdicts and counts are those of one fold of the log."""
    hot = Hot(StreamSeq(0))
    archived = dict.fromkeys(KEYS, NOTHING_YET)
    truth: dict[ChannelKey, tuple[int, ChannelState | None]] = dict.fromkeys(KEYS, (0, None))
    batch = None
    for step in steps:
        if step == "cut":
            batch = batch or hot.cut()
        elif step == "drop":
            if batch:
                archived |= {key: head for key, head, _ in batch.channels}
                hot.drop(batch)
            batch = None
        else:
            key, body = step  # type: ignore[misc]
            for missing in hot.missing([key]):
                hot.load(missing, archived[missing])
            added = hot.add(key, StreamSeq(hot.applied + 1), 5, body)
            seq, state = truth[key]
            state, void = fold(state, e.decode(body))
            truth[key] = (seq + 1, state)
            assert (added.recorded.seq, added.recorded.void) == (seq + 1, void)
            assert added.messages == (state.messages if state else 0)
            assert hot.head(key) is not None
    for key, (seq, state) in truth.items():
        head = hot.head(key) or archived[key]
        assert (head.seq, head.state) == (seq, state)


def test_pages_are_slices() -> None:
    """Events between two seqs come in order; outside of what is hot there are none."""
    key = KEYS[0]
    hot = hot_of(0, {key: [encode(created()), *(encode(posted(str(n))) for n in range(9))]})
    batch = hot_of(0, {key: [encode(created()), *(encode(posted(str(n))) for n in range(4))]}).cut()
    hot.drop(batch)
    assert hot.floor(key) == 6

    def between(first: int, last: int) -> list[int]:
        return [at.recorded.seq for at in hot.between(key, Seq(first), Seq(last))]

    assert between(1, 5) == []
    assert between(4, 7) == [6, 7]
    assert between(8, 99) == [8, 9, 10]
    assert between(11, 12) == []


def test_dropping_forgets_and_counts_memory() -> None:
    """After a drop nothing of the batch is left: no ids, no bytes, no events."""
    key = KEYS[0]
    hot = hot_of(0, {key: [encode(created()), encode(posted("x")), b"garbage"]})
    event = hot.between(key, Seq(2), Seq(2))[0].recorded.event
    assert hot.known(key, event.author, event.id) is not None
    assert hot.bytes > 0
    hot.drop(hot.cut())
    assert hot.known(key, event.author, event.id) is None
    assert (hot.bytes, len(hot), hot.floor(key)) == (0, 0, None)


def test_a_channel_is_resident_until_a_commit_without_it() -> None:
    """A channel in which something is said in every batch is loaded once; a silent one is forgotten."""
    busy, silent = KEYS[:2]
    hot = hot_of(0, {key: [encode(created()), encode(posted("x"))] for key in (busy, silent)})
    hot.drop(hot.cut())
    assert hot.missing([busy, silent]) == []
    added = hot.add(busy, StreamSeq(hot.applied + 1), 5, encode(posted("y")))
    assert added.recorded.seq == 3
    batch = hot.cut()
    hot.drop(batch)
    assert hot.missing([busy, silent]) == [silent]
    assert (hot.head(busy), hot.head(silent)) == (batch.channels[0][1], None)


def test_a_batch_does_not_move() -> None:
    """What is added after a cut is not in it, and stays when it is dropped."""
    key = KEYS[0]
    hot = hot_of(0, {key: [encode(created()), encode(posted("in"))]})
    batch = hot.cut()
    added = hot.add(key, StreamSeq(3), 5, encode(posted("out")))
    assert (batch.lo, batch.hi, len(batch.channels[0][2])) == (1, 2, 2)
    hot.drop(batch)
    assert hot.between(key, Seq(1), Seq(9)) == (added,)
    assert len(hot) == 1


def test_a_gap_in_the_stream_is_a_bug() -> None:
    """Numbers are worth nothing after a hole: it is not taken."""
    hot = hot_of(4, {KEYS[0]: [encode(created())]})
    with pytest.raises(AssertionError):
        hot.add(KEYS[0], StreamSeq(7), 5, b"")


@pytest.mark.parametrize("subject", ["channel.0.a.b.c", "channel.0.*", "channel.0.a", "channel.0.%.*"])
def test_odd_subjects_are_channels_too(subject: str) -> None:
    """A subject that no edge would make is numbered like any other instead of stopping the archive."""
    assert key_of_subject(subject) == key_of_subject(subject)
    assert key_of_subject(subject) != key_of_subject(subject + "x")
