"""The verdict: pure, on what was heard. In the manner of Jepsen: record everything first, judge afterwards.

| family | it is wrong when |
|---|---|
| lost | a number is skipped, an acked command is not where its ack says, an acked number never comes |
| doubled | a reader is given a number twice, an id has two numbers |
| disorder | a number comes after a higher one |
| leaked | somebody is told something of a channel after leaving it |
| contradiction | two readers, or two acks, disagree about who has a number; a refused id is in the log |
| stuck | a client is still not served long after the last fault |
| refused | an error that nothing in the load deserves |
| differs | `parley verify`: log, archive, checkpoints and the SDK's verifiers do not hold the same |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from tests.chaos.testimony import Reading, Record, Track

Family = Literal["lost", "doubled", "disorder", "leaked", "contradiction", "stuck", "refused", "differs"]

UNDESERVED = frozenset({"internal", "conflict"})
"""Refusals that nothing in the load can deserve; `clock_skew` is deserved by a clock that is ahead only."""


class Wrong(NamedTuple):
    """One thing that must not be; `channel` "" and `seq` 0 where there is none."""

    family: Family
    who: str
    what: str
    channel: str = ""
    seq: int = 0

    def __str__(self) -> str:
        where = f" {self.channel} #{self.seq}" if self.channel else ""
        return f"{self.family}: {self.who}{where}: {self.what}"


def check(record: Record, readings: Sequence[Reading]) -> list[Wrong]:
    """Everything that is wrong with what was heard, once everything should have been."""
    return [*broken(record, readings), *_unseen(record.heads(), readings)]


def broken(record: Record, readings: Sequence[Reading]) -> list[Wrong]:
    """What is wrong already and no waiting can mend."""
    known: dict[tuple[str, int], str] = {}
    wrong: list[Wrong] = []
    for reading in readings:
        wrong += (Wrong("lost", reading.who, what) for what in reading.said)
        wrong += (Wrong("leaked", reading.who, "told while away", *leak) for leak in reading.leaks)
        for channel, track in reading.tracks.items():
            wrong += _order(reading.who, channel, track)
            wrong += _agreement(reading.who, channel, track, known)
    wrong += _numbers_of_ids(known)
    wrong += _acks(record, known)
    skewed = ((place, id_) for place, id_ in known.items() if id_ in record.skewed)
    wrong += (Wrong("contradiction", id_, "refused, and in the log", *place) for place, id_ in skewed)
    undeserved = ((code, count) for code, count in record.refused.items() if code in UNDESERVED)
    wrong += (Wrong("refused", "writers", f"{code}, {count} times") for code, count in undeserved)
    return wrong


def _order(who: str, channel: str, track: Track) -> Iterator[Wrong]:
    """Every number above the start, each once, in order (P19)."""
    expected = track.start + 1
    holes: set[int] = set()
    for seq in track.seqs:
        if seq == expected:
            expected += 1
        elif seq > expected:
            yield Wrong("lost", who, f"came after {expected - 1}", channel, seq)
            holes.update(range(expected, min(seq, expected + 10_000)))
            expected = seq + 1
        elif seq in holes:
            holes.discard(seq)
            yield Wrong("disorder", who, f"came after {expected - 1}", channel, seq)
        else:
            yield Wrong("doubled", who, f"came again after {expected - 1}", channel, seq)


def _agreement(who: str, channel: str, track: Track, known: dict[tuple[str, int], str]) -> Iterator[Wrong]:
    """What has a number is the same for everybody."""
    for seq, id_ in zip(track.seqs, track.ids, strict=True):
        other = known.setdefault((channel, seq), id_)
        if other != id_:
            yield Wrong("contradiction", who, f"is {id_}, for others {other}", channel, seq)


def _numbers_of_ids(known: Mapping[tuple[str, int], str]) -> Iterator[Wrong]:
    """The same id is the same message for ever (P12)."""
    places: dict[str, tuple[str, int]] = {}
    for place, id_ in known.items():
        other = places.setdefault(id_, place)
        if other != place:
            yield Wrong("doubled", id_, f"stands at {other} too", *place)


def _acks(record: Record, known: Mapping[tuple[str, int], str]) -> Iterator[Wrong]:
    """An ack is true, and every further ack of the same id says the same.

    Not judged is `duplicate`: an edge that had to ask twice cannot know who stored it.
    """
    first: dict[str, tuple[str, int]] = {}
    owner: dict[tuple[str, int], str] = {}
    for ack in record.acks:
        place = (ack.channel, ack.seq)
        if ack.id in first:
            if first[ack.id] != place:
                yield Wrong("doubled", ack.who, f"{ack.id} was acked at {first[ack.id]} before", *place)
            continue
        first[ack.id] = place
        if owner.setdefault(place, ack.id) != ack.id:
            yield Wrong("contradiction", ack.who, f"acked to {owner[place]} and to {ack.id}", *place)
        seen = known.get(place)
        if seen is not None and seen != ack.id:
            yield Wrong("lost", ack.who, f"{ack.id} was acked here, {seen} stands here", *place)


def _unseen(heads: Mapping[str, int], readings: Sequence[Reading]) -> Iterator[Wrong]:
    """Everybody has everything that was acked in the channels that they follow."""
    for reading in readings:
        for channel, track in reading.tracks.items():
            last, head = max(track.seqs, default=track.start), heads.get(channel, 0)
            if last < head:
                yield Wrong("lost", reading.who, f"acked, but {last} is the last that came", channel, head)
