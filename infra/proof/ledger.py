"""What one source says about every channel, in a form that can be compared: digests by seq.

Pure. The log is numbered and folded here once more, by nothing but the shared vocabulary, so that the
sequencer, the edges and the archiver are checked by somebody who shares no code path with them.

Of what an event erases, each source may still have the text or not: what is left is compared.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shared.channel import ChannelState, fold
from shared.client import ERASED, digest
from shared.erasure import SAID, Erasure, erasure_of
from shared.events import MessageEdited, Recorded, decode
from shared.ids import ChannelKey, Epoch, Seq, StreamSeq
from shared.records import Checkpoint
from shared.wire_form import wire

_NOWHERE = StreamSeq(0)
IDS_NAMED_MAX = 10


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing on which two sources disagree."""

    key: ChannelKey
    seq: int
    what: str

    def __str__(self) -> str:
        return f"{self.key.workspace}/{self.key.channel} #{self.seq}: {self.what}"


@dataclass(slots=True)
class Account:
    """One channel: per event the digest of its wire form, and of everything that is stored about it."""

    wire: array[int] = field(default_factory=lambda: array("Q"))
    stored: array[int] = field(default_factory=lambda: array("Q"))
    _left: array[int] = field(default_factory=lambda: array("Q"))
    """What would be compared of each if it were erased."""
    _authors: array[int] = field(default_factory=lambda: array("Q"))
    """Who has said it; 0 if it says nothing."""
    _edits: dict[int, list[int]] = field(default_factory=dict)
    stream_seq: StreamSeq = _NOWHERE
    state: ChannelState | None = None

    @property
    def seq(self) -> Seq:
        """The channel's head."""
        return Seq(len(self.wire))

    def enter(self, recorded: Recorded, body: bytes) -> None:
        """The next event."""
        event = recorded.event
        self.wire.append(digest(wire(recorded)))
        self.stored.append(_stored_digest(recorded, body))
        self._left.append(_stored_digest(recorded, f"{event.kind} {event.author} {event.id}".encode()))
        self._authors.append(digest(event.author.encode()) if event.kind in SAID else 0)
        self.stream_seq = recorded.stream_seq
        if isinstance(event, MessageEdited):
            self._edits.setdefault(event.ref, []).append(recorded.seq)
        if (erasure := erasure_of(recorded)) is not None:
            self._erase(erasure)

    def _erase(self, erasure: Erasure) -> None:
        if erasure.expired is not None:
            below = erasure.expired.below
            edits = (seq for ref, seqs in self._edits.items() if ref < below for seq in seqs)
            said = (seq for seq, author in enumerate(self._authors[: below - 1], 1) if author)
            named = [seq for seq in {*said, *edits} if seq < erasure.before]
        elif erasure.ref is not None:
            named = [seq for seq in (erasure.ref, *self._edits.get(erasure.ref, ())) if seq < erasure.before]
        else:
            author = digest(str(erasure.user).encode())
            named = [seq for seq, other in enumerate(self._authors, 1) if other == author]
        for seq in named:
            self.wire[seq - 1] = ERASED
            self.stored[seq - 1] = self._left[seq - 1]


Ledger = dict[ChannelKey, Account]


def enter_log(ledger: Ledger, key: ChannelKey, stream_seq: StreamSeq, at_us: int, body: bytes) -> None:
    """A message of the log, in the log's order: number it, fold it, enter it."""
    account = ledger.setdefault(key, Account())
    event = decode(body)
    account.state, void = fold(account.state, event)
    seq = Seq(account.seq + 1)
    account.enter(Recorded(key, seq, stream_seq, at_us, event, void), body)


def enter_archive(ledger: Ledger, recorded: Recorded, body: bytes) -> Difference | None:
    """A row of the archive, in the order of channel and seq: it must carry the next number."""
    account = ledger.setdefault(recorded.key, Account())
    expected = account.seq + 1
    if recorded.seq != expected:
        return Difference(
            recorded.key, recorded.seq, f"the archive goes on with this seq after {expected - 1}"
        )
    account.enter(recorded, body)
    return None


def compare_archive(log: Ledger, archive: Ledger) -> Iterator[Difference]:
    """Where the archive differs from the log."""
    for key in sorted(log.keys() | archive.keys()):
        ours, theirs = log.get(key, Account()), archive.get(key, Account())
        if ours.seq > theirs.seq:
            yield Difference(key, theirs.seq + 1, f"not in the archive, nor what follows up to {ours.seq}")
        elif theirs.seq > ours.seq:
            yield Difference(key, ours.seq + 1, f"in the archive, but not in the log (up to {theirs.seq})")
        if ours.stored != theirs.stored[: ours.seq]:
            pairs = zip(ours.stored, theirs.stored, strict=False)
            for seq, (mine, other) in enumerate(pairs, 1):
                if mine != other:
                    yield Difference(key, seq, "the archive's row differs from the log's event")


def differs_from(log: Ledger, aside: Ledger) -> dict[ChannelKey, Seq]:
    """The channels that an archive of an epoch that is over has otherwise than the log: from which seq on."""
    found: dict[ChannelKey, Seq] = {}
    for key in sorted(aside):
        theirs, ours = aside[key].stored, log.get(key, Account()).stored
        first = next((at for at in range(len(theirs)) if ours[at : at + 1] != theirs[at : at + 1]), None)
        if first is not None:
            found[key] = Seq(first + 1)
    return found


def lost(key: ChannelKey, epoch: Epoch, events: Sequence[tuple[Seq, str]]) -> Difference:
    """What an epoch had and the log has not any more, under any number: seqs and ids, in order."""
    ids = [name or "(no id)" for _, name in events]
    more = f" and {len(ids) - IDS_NAMED_MAX} more" if len(ids) > IDS_NAMED_MAX else ""
    count = "1 event" if len(events) == 1 else f"{len(events)} events"
    what = f"{count} lost with epoch {epoch}: seqs {_spans([seq for seq, _ in events])}"
    return Difference(key, events[0][0], f"{what}; ids {', '.join(ids[:IDS_NAMED_MAX])}{more}")


def _spans(seqs: Sequence[Seq]) -> str:
    """`2-5, 9`."""
    spans: list[list[int]] = []
    for seq in seqs:
        if spans and spans[-1][-1] == seq - 1:
            spans[-1] = [spans[-1][0], seq]
        else:
            spans.append([seq])
    return ", ".join("-".join(map(str, span)) for span in spans)


def compare_checkpoints(
    log: Ledger, checkpoints: Mapping[ChannelKey, Checkpoint], upto: Mapping[ChannelKey, StreamSeq]
) -> Iterator[Difference]:
    """Where checkpoints differ; `upto` is how far the log of the channel's partition was read."""
    for key in sorted(log.keys() | checkpoints.keys()):
        account, checkpoint = log.get(key), checkpoints.get(key)
        if checkpoint is None:
            assert account is not None
            yield Difference(key, account.seq, "has no checkpoint")
        elif checkpoint.stream_seq <= upto[key]:  # one that is ahead belongs to what came meanwhile
            yield from _checkpoint_differences(key, account or Account(), checkpoint)


def _checkpoint_differences(
    key: ChannelKey, account: Account, checkpoint: Checkpoint
) -> Iterator[Difference]:
    if checkpoint.seq != account.seq:
        yield Difference(key, checkpoint.seq, f"the checkpoint's seq; the log's head is {account.seq}")
    if checkpoint.stream_seq != account.stream_seq:
        yield Difference(key, checkpoint.seq, "the checkpoint's position in the stream is not the head's")
    if checkpoint.state != account.state:
        yield Difference(key, checkpoint.seq, "the checkpoint's state is not the fold of the log")


def _stored_digest(recorded: Recorded, body: bytes) -> int:
    head = f"{recorded.seq} {recorded.stream_seq} {recorded.at_us} {recorded.void}\n"
    return int.from_bytes(hashlib.blake2b(head.encode() + body, digest_size=8).digest(), "little")
