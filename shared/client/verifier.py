"""The verifier: records what a client was given, and proves it against the log and the archive.

It does not trust the session that feeds it. Per channel it keeps where it began and an 8-byte digest of
every event as it stood on the wire, so that 221,056 events cost under 2 MB. A hole, a repetition, a step
back, a gap or a reset is a fault, recorded at once; `compare` finds what differs from a reference.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import orjson

from shared.client.updates import ChannelEvent, Gap, Opened, Reset, Update

FAULTS_MAX = 1000
"""Faults that are kept in words; all are counted."""

UNSEEN = 0
ERASED = 0
"""In a reference: the event was erased, so whether one has seen the text or what is left of it is right."""

_MAGIC = b"parley-verifier-1\n"

Reference = Mapping[str, Sequence[int]]
"""What the log or the archive holds: per channel the digest of event `seq` at index `seq - 1`."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that must not be: which channel, what, and the seq at which it was seen."""

    channel: str
    what: str
    seq: int
    expected: int

    def __str__(self) -> str:
        return f"{self.channel}: {self.what} at seq {self.seq} (expected {self.expected})"


@dataclass(slots=True)
class Seen:
    """What was seen of one channel: the events above `start`, by digest (`UNSEEN`: a hole)."""

    start: int
    digests: array[int] = field(default_factory=lambda: array("Q"))

    @property
    def last(self) -> int:
        """The highest seq that was seen."""
        return self.start + len(self.digests)


def digest(body: bytes) -> int:
    """The digest of an event's wire form (P20), never `UNSEEN`."""
    return int.from_bytes(blake2b(body, digest_size=8).digest(), "little") or 1


class Verifier:
    """Feed it every update of one client; `name` says whose it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults: list[Fault] = []
        self.fault_count = 0
        self.channels: dict[str, Seen] = {}

    @property
    def events(self) -> int:
        """How many events were seen."""
        return sum(len(seen.digests) - seen.digests.count(UNSEEN) for seen in self.channels.values())

    def record(self, update: Update) -> None:
        """Take note of one update."""
        if isinstance(update, ChannelEvent):
            self._event(update)
        elif isinstance(update, Opened):
            self._opened(update.channel, update.seq)
        elif isinstance(update, Gap):
            self._fault(update.channel, f"gap named by the server ({update.reason})", update.after, 0)
        elif isinstance(update, Reset):
            self._fault(update.channel, f"reset by the server ({update.reason})", update.seq, 0)

    def expect(self, channel: str, after: int) -> None:
        """Demand that the channel was followed from `after` on (starts where asked)."""
        seen = self.channels.get(channel)
        if seen is None:
            self._fault(channel, "never opened", 0, after)
        elif seen.start != after:
            self._fault(channel, "starts elsewhere than asked", seen.start, after)

    def compare(self, reference: Reference, *, to_head: bool = True) -> Iterator[Fault]:
        """What differs from a reference; `to_head`: the client must have seen its last event too."""
        for channel, seen in self.channels.items():
            stored = reference.get(channel, ())
            if seen.last > len(stored):
                yield Fault(channel, "seen by the client but not stored", seen.last, len(stored))
            if to_head and seen.last < len(stored):
                yield Fault(channel, "stored but not seen by the client", seen.last + 1, len(stored))
            for index, (mine, theirs) in enumerate(
                zip(seen.digests, stored[seen.start : seen.last], strict=False), seen.start + 1
            ):
                if mine == UNSEEN or theirs not in {mine, ERASED}:
                    what = "never seen by the client" if mine == UNSEEN else "differs from what is stored"
                    yield Fault(channel, what, index, index)

    def dump(self) -> bytes:
        """Everything recorded, for another process or a file."""
        head = {
            "name": self.name,
            "fault_count": self.fault_count,
            "faults": [[f.channel, f.what, f.seq, f.expected] for f in self.faults],
            "channels": {c: [seen.start, len(seen.digests)] for c, seen in self.channels.items()},
        }
        body = b"".join(seen.digests.tobytes() for seen in self.channels.values())
        return _MAGIC + orjson.dumps(head) + b"\n" + body

    @classmethod
    def load(cls, raw: bytes) -> Verifier:
        """The inverse of `dump`; raises ValueError."""
        if not raw.startswith(_MAGIC):
            raise ValueError("not a verifier's dump")
        line, _, body = raw[len(_MAGIC) :].partition(b"\n")
        head = orjson.loads(line)
        verifier = cls(head["name"])
        verifier.fault_count = head["fault_count"]
        verifier.faults = [Fault(*fault) for fault in head["faults"]]
        at = 0
        for channel, (start, count) in head["channels"].items():
            verifier.channels[channel] = Seen(start, array("Q", body[at : at + 8 * count]))
            at += 8 * count
        return verifier

    def _opened(self, channel: str, seq: int) -> None:
        seen = self.channels.get(channel)
        if seen is None or not seen.digests:
            self.channels[channel] = Seen(seq)
        elif seq != seen.last:
            self._fault(channel, "opened again elsewhere", seq, seen.last)

    def _event(self, event: ChannelEvent) -> None:
        frame = event.frame
        channel, seq = frame["channel"], frame["seq"]
        seen = self.channels.get(channel)
        if seen is None:
            self._fault(channel, "event before the channel was opened", seq, 0)
            seen = self.channels[channel] = Seen(seq - 1)
        digests = seen.digests
        expected = seen.start + len(digests) + 1
        value = digest(orjson.dumps(frame))
        if seq == expected:
            digests.append(value)
        elif seq > expected:
            self._fault(channel, "hole", seq, expected)
            if seq - expected <= FAULTS_MAX * 1000:
                digests.extend([UNSEEN] * (seq - expected))
                digests.append(value)
        else:
            self._step_back(seen, frame["channel"], seq, expected, value)

    def _step_back(self, seen: Seen, channel: str, seq: int, expected: int, value: int) -> None:
        index = seq - seen.start - 1
        if index < 0:
            self._fault(channel, "before the start", seq, expected)
        elif seen.digests[index] == UNSEEN:
            self._fault(channel, "out of order", seq, expected)
            seen.digests[index] = value
        elif seen.digests[index] == value:
            self._fault(channel, "duplicate", seq, expected)
        else:
            self._fault(channel, "same seq with another body", seq, expected)

    def _fault(self, channel: str, what: str, seq: int, expected: int) -> None:
        self.fault_count += 1
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(Fault(channel, what, seq, expected))
