"""The checker finds what is wrong, names its family, and finds nothing in what is right."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos.checker import Family, check
from tests.chaos.testimony import Reading, Record, Track

CHANNEL = "busy-0"


def heard(who: str, *seqs: int, start: int = 0) -> Reading:
    """A reader to whom these numbers came in this order; number n is `id-n`."""
    track = Track(start)
    for seq in seqs:
        track.take(seq, f"id-{seq}", float(seq))
    return Reading(who, {CHANNEL: track})


def acked(*seqs: int) -> Record:
    """A writer whose commands `id-n` were acked with these numbers."""
    record = Record()
    for seq in seqs:
        record.take("ada", f"id-{seq}", CHANNEL, seq, duplicate=False)
    return record


def test_nothing_is_wrong_with_what_is_right() -> None:
    """In order, each once, from where a reader began; a repeated command has the same number."""
    record = acked(1, 2, 3)
    record.take("ada", "id-2", CHANNEL, 2, duplicate=True)
    assert check(record, [heard("grace", 1, 2, 3), heard("late", 3, start=2)]) == []


def _hole(record: Record, reading: Reading) -> None:
    del record
    reading.tracks[CHANNEL].take(5, "id-5", 5.0)


def _end_missing(record: Record, reading: Reading) -> None:
    del reading
    record.take("ada", "id-4", CHANNEL, 4, duplicate=False)


def _replaced(record: Record, reading: Reading) -> None:
    reading.tracks[CHANNEL].take(4, "somebody else's", 4.0)
    record.take("ada", "id-4", CHANNEL, 4, duplicate=False)


def _named_gap(record: Record, reading: Reading) -> None:
    del record
    reading.said.append("busy-0: gap")


def _twice(record: Record, reading: Reading) -> None:
    del record
    reading.tracks[CHANNEL].take(3, "id-3", 4.0)


def _two_numbers(record: Record, reading: Reading) -> None:
    del record
    reading.tracks[CHANNEL].take(4, "id-2", 4.0)


def _acked_twice(record: Record, reading: Reading) -> None:
    reading.tracks[CHANNEL].take(4, "id-4", 4.0)
    record.take("ada", "id-2", CHANNEL, 4, duplicate=True)


def _swapped(record: Record, reading: Reading) -> None:
    del record
    for seq in (5, 4):
        reading.tracks[CHANNEL].take(seq, f"id-{seq}", 4.0)


def _leak(record: Record, reading: Reading) -> None:
    del record
    reading.leaks.append((CHANNEL, 4))


def _one_number_for_two(record: Record, reading: Reading) -> None:
    del reading
    record.take("bob", "another", CHANNEL, 2, duplicate=False)


def _refused_and_stored(record: Record, reading: Reading) -> None:
    del reading
    record.skewed.add("id-3")


def _undeserved(record: Record, reading: Reading) -> None:
    del reading
    record.refused["conflict"] += 1


@pytest.mark.parametrize(
    ("plant", "family"),
    [
        (_hole, "lost"),
        (_end_missing, "lost"),
        (_replaced, "lost"),
        (_named_gap, "lost"),
        (_twice, "doubled"),
        (_two_numbers, "doubled"),
        (_acked_twice, "doubled"),
        (_swapped, "disorder"),
        (_leak, "leaked"),
        (_one_number_for_two, "contradiction"),
        (_refused_and_stored, "contradiction"),
        (_undeserved, "refused"),
    ],
)
def test_what_is_planted_is_found(plant: Callable[[Record, Reading], None], family: Family) -> None:
    """One thing is made wrong in a sound record: it is found, under its family."""
    record, reading = acked(1, 2, 3), heard("grace", 1, 2, 3)
    assert check(record, [reading]) == []
    plant(record, reading)
    assert family in {wrong.family for wrong in check(record, [reading])}


def test_readers_who_disagree_are_found() -> None:
    """One number, two ids: neither reader can see that alone."""
    one, other = heard("grace", 1, 2), heard("bob", 1)
    other.tracks[CHANNEL].take(2, "id-of-another-log", 2.0)
    assert [wrong.family for wrong in check(Record(), [one, other])] == ["contradiction"]


def test_a_wrong_thing_names_its_place() -> None:
    """Who, where and what, so that the records around it can be found."""
    (wrong,) = check(Record(), [heard("grace", 1, 3)])
    assert str(wrong) == "lost: grace busy-0 #3: came after 1"
