"""Where an event stands once it is in the log: the answer to a command (P12)."""

from __future__ import annotations

from typing import NamedTuple

from edge.core.ring import Entry
from shared.envelope import PubAck
from shared.errors import Conflict, Forbidden, OutcomeUnknown
from shared.events import KnownEvent
from shared.fingerprints import fingerprint, says
from shared.ids import Seq, StreamSeq
from shared.records import KnownId


class Recording(NamedTuple):
    """Its number, the log's time in microseconds, and whether it stood there before this command."""

    seq: Seq
    at_us: int
    duplicate: bool


def of_entry(entry: Entry, *, duplicate: bool) -> Recording:
    """An event of our own feed. Raises `Forbidden` if it is void there."""
    if entry.recorded.void is not None:
        raise Forbidden(entry.recorded.void)
    return Recording(entry.seq, entry.recorded.at_us, duplicate)


def is_of(entry: Entry, event: KnownEvent) -> bool:
    """Whether an entry is this event, or another body under its id."""
    return entry.recorded.event.id == event.id


def stands(entry: Entry, event: KnownEvent) -> bool:
    """Whether an entry is this event, and has its effect."""
    return is_of(entry, event) and entry.recorded.void is None


def check_same_log(entry: Entry, event: KnownEvent) -> None:
    """Raises `OutcomeUnknown` if another event stands where the log says that it has put this one."""
    if not is_of(entry, event):
        raise OutcomeUnknown("recorded in a log that was replaced", retry_after_ms=1000)


def of_same(entry: Entry, event: KnownEvent, *, duplicate: bool) -> Recording:
    """An entry with the id of `event`. Raises `Conflict` if it says something else."""
    if not says(fingerprint(entry.recorded.event), event):
        raise Conflict("this id is recorded with another body", seq=entry.recorded.seq)
    return of_entry(entry, duplicate=duplicate)


def of_known(known: KnownId, event: KnownEvent) -> Recording:
    """An id that the archive knows. Raises `Conflict` or `Forbidden`."""
    if not says(known.fingerprint, event):
        raise Conflict("this id is recorded with another body", seq=known.seq)
    if known.void is not None:
        raise Forbidden(known.void)
    return Recording(known.seq, known.at_us, duplicate=True)


def told_apart(ack: PubAck, before: StreamSeq) -> PubAck:
    """A duplicate that a retry met is this command's own first try, unless it stood there `before` it."""
    return ack._replace(retried=False) if ack.duplicate and ack.stream_seq <= before else ack
