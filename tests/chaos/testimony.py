"""What was heard: the acks of those who write, the deliveries of those who read, in their order of arrival.

Written down while things break, judged afterwards (`checker`). Ids are interned: every reader holds the same.
"""

from __future__ import annotations

import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.client import Ack
from tests.chaos.silence import Silences


class Acked(NamedTuple):
    """An ack: whose, for which command, with which number, and when (monotonic)."""

    who: str
    id: str
    channel: str
    seq: int
    duplicate: bool
    at_s: float


@dataclass(slots=True)
class Track:
    """The deliveries of one channel to one reader: all that came above `start`, in order of arrival."""

    start: int
    seqs: array[int] = field(default_factory=lambda: array("Q"))
    ids: list[str] = field(default_factory=list)
    at_s: array[float] = field(default_factory=lambda: array("d"))

    @property
    def last(self) -> int:
        """The newest number that came."""
        return self.seqs[-1] if self.seqs else self.start

    def take(self, seq: int, id_: str, at_s: float) -> None:
        """An event arrived."""
        self.seqs.append(seq)
        self.ids.append(sys.intern(id_))
        self.at_s.append(at_s)

    def around(self, seq: int, reach: int) -> Iterator[tuple[float, int, str]]:
        """The deliveries with numbers near this one: when, number, id."""
        for at_s, found, id_ in zip(self.at_s, self.seqs, self.ids, strict=True):
            if abs(found - seq) <= reach:
                yield at_s, found, id_


@dataclass(slots=True)
class Reading:
    """What one reader was told. `said`: what the server itself says is wrong; `leaks`: (channel, seq)."""

    who: str
    tracks: dict[str, Track] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    leaks: list[tuple[str, int]] = field(default_factory=list)

    @property
    def deliveries(self) -> int:
        """How many events came."""
        return sum(len(track.seqs) for track in self.tracks.values())


@dataclass(slots=True)
class Record:
    """What those who write were answered; `skewed`: ids that were refused for their time, for good."""

    acks: list[Acked] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    skewed: set[str] = field(default_factory=set)
    repeats: int = 0
    late_repeats: int = 0
    silences: Silences = field(default_factory=Silences)

    def take(self, who: str, id_: str, channel: str, seq: int, *, duplicate: bool) -> None:
        """An ack arrived."""
        now_s = time.monotonic()
        self.acks.append(Acked(who, sys.intern(id_), channel, seq, duplicate, now_s))
        self.silences.heard(who, now_s)

    def note(self, who: str, ack: Ack) -> None:
        """The SDK passed on an ack."""
        self.take(who, ack.id, ack.channel, ack.seq, duplicate=ack.duplicate)

    def repeated(self, age_s: float, window_s: float) -> None:
        """A command was given again, so long after its first ack."""
        self.repeats += 1
        self.late_repeats += age_s > window_s

    def heads(self) -> dict[str, int]:
        """The highest acked number of each channel."""
        heads: dict[str, int] = {}
        for ack in self.acks:
            heads[ack.channel] = max(ack.seq, heads.get(ack.channel, 0))
        return heads
