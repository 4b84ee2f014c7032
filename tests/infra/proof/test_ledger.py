"""The ledger finds what is planted: changed, missing, added, misnumbered events, and wrong checkpoints."""

from __future__ import annotations

from array import array

import pytest
from msgspec.structs import replace

from infra.proof.ledger import (
    Account,
    Difference,
    Ledger,
    compare_archive,
    compare_checkpoints,
    differs_from,
    enter_archive,
    enter_log,
    lost,
)
from shared.channel import fold
from shared.client import Verifier, digest
from shared.client.verifier import UNSEEN, Seen
from shared.erasure import emptied
from shared.events import (
    ChannelRetentionSet,
    KnownEvent,
    MessageEdited,
    MessageErased,
    MessagesExpired,
    Recorded,
    UserErased,
    decode,
    encode,
)
from shared.ids import ChannelKey, Epoch, Seq, StreamSeq, UserId
from shared.records import Checkpoint
from shared.wire_form import wire
from tests.support.archive import ALICE, created, key_of, posted

KEY = key_of("tea")
BOB = UserId("bob")
BODIES = [encode(created()), *(encode(posted(f"cup {n}")) for n in range(4)), b"no event"]


def logged() -> Ledger:
    ledger: Ledger = {}
    for stream_seq, body in enumerate(BODIES, 10):
        enter_log(ledger, KEY, StreamSeq(stream_seq), 1_790_000_000_000_000, body)
    return ledger


def recorded() -> list[Recorded]:
    state, found = None, []
    for seq, body in enumerate(BODIES, 1):
        event = decode(body)
        state, void = fold(state, event)
        found.append(Recorded(KEY, Seq(seq), StreamSeq(9 + seq), 1_790_000_000_000_000, event, void))
    return found


def archived(rows: list[tuple[Recorded, bytes]]) -> tuple[Ledger, list[Difference]]:
    ledger: Ledger = {}
    wrong = [enter_archive(ledger, row, body) for row, body in rows]
    return ledger, [difference for difference in wrong if difference is not None]


def rows() -> list[tuple[Recorded, bytes]]:
    return list(zip(recorded(), BODIES, strict=True))


def checkpoint(account: Account) -> Checkpoint:
    assert account.state is not None
    return Checkpoint(seq=account.seq, stream_seq=account.stream_seq, state=account.state)


def test_equal_sources_have_no_difference() -> None:
    """The same events, an unreadable one among them: nothing to report."""
    log = logged()
    archive, wrong = archived(rows())
    assert wrong == []
    assert list(compare_archive(log, archive)) == []
    upto = {KEY: StreamSeq(15)}
    assert list(compare_checkpoints(log, {KEY: checkpoint(log[KEY])}, upto)) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda r, b: (replace(r, at_us=r.at_us + 1), b),
        lambda r, b: (replace(r, stream_seq=StreamSeq(r.stream_seq + 1)), b),
        lambda r, b: (replace(r, void="because"), b),
        lambda r, b: (r, b + b" "),
    ],
)
def test_changed_row_is_found(change) -> None:  # type: ignore[no-untyped-def]
    """Time, position, verdict and every byte of the body count."""
    changed = rows()
    changed[2] = change(*changed[2])
    archive, _ = archived(changed)
    assert [(d.key, d.seq) for d in compare_archive(logged(), archive)] == [(KEY, 3)]


def test_missing_rows_are_found() -> None:
    """The archive ends early, or lacks the channel altogether."""
    archive, _ = archived(rows()[:4])
    assert [d.seq for d in compare_archive(logged(), archive)] == [5]
    assert [d.seq for d in compare_archive(logged(), {})] == [1]


def test_row_that_the_log_does_not_hold_is_found() -> None:
    """One row too many."""
    extra = (replace(recorded()[-1], seq=Seq(7), stream_seq=StreamSeq(16)), BODIES[-1])
    archive, _ = archived([*rows(), extra])
    assert [d.seq for d in compare_archive(logged(), archive)] == [7]


@pytest.mark.parametrize("order", [[0, 1, 3], [0, 1, 1], [1]])
def test_holes_and_repetitions_in_the_archive_are_found(order: list[int]) -> None:
    """Rows must be numbered 1, 2, 3 …"""
    _, wrong = archived([rows()[index] for index in order])
    assert len(wrong) == 1


def test_wrong_checkpoints_are_found() -> None:
    """Seq, position and state are compared; a missing one and one of an unknown channel too."""
    log = logged()
    right = checkpoint(log[KEY])
    upto: dict[ChannelKey, StreamSeq] = {KEY: StreamSeq(15), key_of("gin"): StreamSeq(15)}
    for wrong in (
        right.model_copy(update={"seq": Seq(5)}),
        right.model_copy(update={"stream_seq": StreamSeq(14)}),
        right.model_copy(update={"state": replace(log[KEY].state, messages=9)}),
    ):
        assert len(list(compare_checkpoints(log, {KEY: wrong}, upto))) == 1
    assert [d.what for d in compare_checkpoints(log, {}, upto)] == ["has no checkpoint"]
    assert len(list(compare_checkpoints(log, {KEY: right, key_of("gin"): right}, upto))) == 3


def test_checkpoint_that_is_ahead_belongs_to_what_came_meanwhile() -> None:
    """A system in motion: what lies above the position up to which the log was read is not judged."""
    log = logged()
    ahead = checkpoint(log[KEY]).model_copy(update={"seq": Seq(99), "stream_seq": StreamSeq(99)})
    assert list(compare_checkpoints(log, {KEY: ahead}, {KEY: StreamSeq(15)})) == []


def test_where_a_replaced_log_differs() -> None:
    """From the first event that the log does not hold, or holds another event instead of; else nowhere."""
    aside, _ = archived(rows())
    assert differs_from(logged(), aside) == {}
    shorter = logged()
    shorter[KEY].stored = shorter[KEY].stored[:4]
    assert differs_from(shorter, aside) == {KEY: 5}
    assert differs_from({}, aside)[KEY] == 1
    other = logged()
    other[KEY].stored[2] ^= 1
    assert differs_from(other, aside) == {KEY: 3}


def test_what_was_lost_is_named() -> None:
    """How many, their numbers as spans, and their ids, as many as can be read."""
    some = lost(KEY, Epoch("e1"), [(Seq(2), "a"), (Seq(3), "b"), (Seq(4), ""), (Seq(7), "c")])
    assert some.what == "4 events lost with epoch e1: seqs 2-4, 7; ids a, b, (no id), c"
    many = lost(KEY, Epoch("e1"), [(Seq(n), f"i{n}") for n in range(1, 13)])
    assert many.what.startswith("12 events lost with epoch e1: seqs 1-12; ids i1, ")
    assert many.what.endswith("i10 and 2 more")
    assert lost(KEY, Epoch("e1"), [(Seq(9), "x")]).what == "1 event lost with epoch e1: seqs 9; ids x"


@pytest.mark.parametrize("how", ["message", "user", "expired"])
def test_what_is_erased_may_be_there_or_not(how: str) -> None:
    """Log with the text, archive without: no difference, if the rest is the same; and clients are right."""
    head = {"id": posted("").id, "author": BOB}
    erasing: dict[str, KnownEvent] = {
        "message": MessageErased(**head, ref=Seq(2)),
        "user": UserErased(**head, user=ALICE),
        "expired": MessagesExpired(**head, since=Seq(1), before=Seq(4), older_than="2026-01-01T00:00:00Z"),
    }
    kept = ChannelRetentionSet(**head, days=1, operator=True)
    edit = MessageEdited(id=posted("").id, author=ALICE, ref=Seq(2), ref_author=ALICE, text="cup edited")
    bodies = [
        encode(created()),
        encode(posted("cup")),
        encode(edit),
        encode(posted("kept", BOB)),
        encode(kept),
        encode(erasing[how]),
    ]
    ledger: Ledger = {}
    events: list[Recorded] = []
    state = None
    for seq, body in enumerate(bodies, 1):
        enter_log(ledger, KEY, StreamSeq(seq), 7, body)
        state, void = fold(state, decode(body))
        events.append(Recorded(KEY, Seq(seq), StreamSeq(seq), 7, decode(body), void))
    left = [
        emptied(one) if one.seq in {2, 3} else (one, body) for one, body in zip(events, bodies, strict=True)
    ]
    archive, wrong = archived(left)
    assert (wrong, list(compare_archive(ledger, archive))) == ([], [])
    moved = [(replace(one, at_us=8) if one.seq == 2 else one, body) for one, body in left]
    assert [it.seq for it in compare_archive(ledger, archived(moved)[0])] == [2]
    changed = [emptied(one) if one.seq == 4 else (one, body) for one, body in left]
    assert [it.seq for it in compare_archive(ledger, archived(changed)[0])] == [4]
    for seen in (events, [one for one, _ in left]):
        client = Verifier("ann")
        client.channels[KEY.channel] = Seen(0, array("Q", [digest(wire(one)) for one in seen]))
        assert list(client.compare({KEY.channel: ledger[KEY].wire})) == []
        client.channels[KEY.channel].digests[1] = UNSEEN
        assert [fault.seq for fault in client.compare({KEY.channel: ledger[KEY].wire})] == [2]
