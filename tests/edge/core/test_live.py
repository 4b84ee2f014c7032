"""The gap rule, held against a log that loses, doubles and delays what it republishes."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from edge.core.live import Place, place
from shared.ids import StreamSeq


@given(st.data())
def test_no_message_is_skipped_or_doubled(data: st.DataObject) -> None:
    """Whatever is lost, repeated or reordered, a feed that obeys the rule delivers the log in order."""
    log = sorted(data.draw(st.sets(st.integers(1, 200), min_size=1, max_size=40)))
    before = dict(zip(log, [0, *log], strict=False))
    arrivals = data.draw(st.lists(st.sampled_from(log), max_size=80))
    delivered: list[int] = []
    for sequence in arrivals:
        mine = delivered[-1] if delivered else 0
        match place(StreamSeq(mine), StreamSeq(sequence), StreamSeq(before[sequence])):
            case Place.NEXT:
                delivered.append(sequence)
            case Place.HOLE:
                delivered += [position for position in log if mine < position <= sequence]
            case Place.OLD:
                assert sequence in delivered
            case other:
                raise AssertionError(other)
    assert delivered == list(itertools.takewhile(lambda p: p <= (delivered or [0])[-1], log))


def test_lost_end_and_trimmed_front_are_told_apart() -> None:
    """A later message whose predecessor is older than ours: the log lost what we had."""
    assert place(StreamSeq(9), StreamSeq(12), StreamSeq(5)) is Place.REGRESSED
    assert place(StreamSeq(9), StreamSeq(12), StreamSeq(0)) is Place.TRIMMED
