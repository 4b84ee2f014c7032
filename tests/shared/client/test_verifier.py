"""The verifier finds every planted hole, duplicate, reordering and difference, and nothing else."""

from __future__ import annotations

from typing import cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.client.updates import ChannelEvent, Gap, Opened, Reset
from shared.client.verifier import Verifier, digest
from shared.client.wire import EventFrame
from shared.ids import ChannelId, Epoch, Seq

C = ChannelId("c")


def event(seq: int, text: str = "hi") -> ChannelEvent:
    frame = {"type": "event", "channel": C, "seq": seq, "ts": "2026-11-25T04:00:00.000Z", "text": text}
    return ChannelEvent(cast(EventFrame, frame))


def reference(upto: int) -> dict[str, list[int]]:
    return {C: [digest(orjson.dumps(event(seq).frame)) for seq in range(1, upto + 1)]}


def watching(*seqs: int, start: int = 0) -> Verifier:
    verifier = Verifier("r1")
    verifier.record(Opened(C, Epoch("e"), Seq(start)))
    for seq in seqs:
        verifier.record(event(seq))
    return verifier


def whats(verifier: Verifier) -> list[str]:
    return [fault.what for fault in verifier.faults]


def test_clean_run_has_no_fault() -> None:
    """1..n in order, equal to the reference: nothing to report."""
    verifier = watching(1, 2, 3)
    verifier.expect(C, 0)
    assert whats(verifier) == []
    assert list(verifier.compare(reference(3))) == []
    assert verifier.events == 3


@pytest.mark.parametrize(
    ("seqs", "what"),
    [
        ((1, 3), "hole"),
        ((1, 2, 2), "duplicate"),
        ((1, 3, 2), "out of order"),
        ((1, 2, 0), "before the start"),
    ],
)
def test_planted_faults_are_found(seqs: tuple[int, ...], what: str) -> None:
    """A hole, a repetition, a step back, an event from before the start."""
    assert what in whats(watching(*seqs))


def test_same_seq_with_another_body() -> None:
    """The number that comes twice with different contents is not just a duplicate."""
    verifier = watching(1)
    verifier.record(event(1, "other"))
    assert whats(verifier) == ["same seq with another body"]


@pytest.mark.parametrize(
    ("update", "what"),
    [
        (Gap(C, Seq(1), Seq(5), "too_far"), "gap named by the server (too_far)"),
        (Reset(C, "foreign_epoch", Epoch("f"), Seq(9)), "reset by the server (foreign_epoch)"),
        (Opened(C, Epoch("e"), Seq(9)), "opened again elsewhere"),
    ],
)
def test_gap_and_reset_are_faults(update: Gap | Reset | Opened, what: str) -> None:
    """A run that is to be proven complete may hold no named hole either."""
    verifier = watching(1)
    verifier.record(update)
    assert whats(verifier) == [what]


def test_starts_where_asked() -> None:
    """A channel that starts elsewhere, or not at all, is a fault."""
    verifier = watching(4, start=3)
    verifier.expect(C, 0)
    verifier.expect("d", 0)
    assert whats(verifier) == ["starts elsewhere than asked", "never opened"]


def test_comparison_names_each_difference() -> None:
    """Another body, an event that is not stored, a stored event that was never seen."""
    verifier = watching(1, 2)
    other = reference(2)
    other[C][0] ^= 1
    assert [(f.what, f.seq) for f in verifier.compare(other)] == [("differs from what is stored", 1)]
    assert [(f.what, f.seq) for f in verifier.compare(reference(3))] == [
        ("stored but not seen by the client", 3)
    ]
    assert list(verifier.compare(reference(3), to_head=False)) == []
    assert [f.what for f in verifier.compare(reference(1))] == ["seen by the client but not stored"]
    assert [(f.what, f.seq) for f in watching(1, 3).compare(reference(3))] == [
        ("never seen by the client", 2)
    ]


def test_dump_and_load() -> None:
    """A dump holds everything that a comparison needs, faults included."""
    verifier = watching(4, 5, 7, start=3)
    loaded = Verifier.load(verifier.dump())
    assert loaded.name == "r1"
    assert loaded.faults == verifier.faults
    assert loaded.channels == verifier.channels
    with pytest.raises(ValueError, match="dump"):
        Verifier.load(b"{}")


@given(st.permutations(range(1, 8)), st.integers(0, 7))
def test_only_the_true_order_passes(order: list[int], doubled: int) -> None:
    """Any permutation other than 1..n, and any repetition, is a fault; comparison is still exact."""
    seqs = order + ([doubled] if doubled else [])
    verifier = watching(*seqs)
    assert (verifier.fault_count == 0) == (seqs == [1, 2, 3, 4, 5, 6, 7])
    assert list(verifier.compare(reference(7))) == []
