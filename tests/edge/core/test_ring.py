"""The ring: consecutive entries, bounded, found by seq and by position."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.core.ring import ENTRIES_MIN, ENTRY_BYTES, Budget, Entry, Ring
from shared.erasure import Erasure, Expired
from shared.events import MessageEdited, MessagePosted, Recorded, Unreadable
from shared.ids import ChannelId, ChannelKey, Seq, StreamSeq, UserId, WorkspaceId, new_command_id
from shared.wire_form import wire

KEY = ChannelKey(WorkspaceId("w"), ChannelId("c"))


def entry(seq: int, size: int = 10) -> Entry:
    """An entry whose position in the stream is three times its seq."""
    return Entry(Recorded(KEY, Seq(seq), StreamSeq(3 * seq), 0, Unreadable()), b"x" * size, seq)


@given(st.integers(0, 50), st.lists(st.integers(1, 40), max_size=60), st.integers(-1, 70))
def test_since_gives_everything_or_says_that_it_cannot(head: int, sizes: list[int], after: int) -> None:
    """`since` is exactly the events above the cursor, or None when any of them has left."""
    ring = Ring(Seq(head), entries_max=20, bytes_max=300)
    for index, size in enumerate(sizes):
        ring.append(entry(head + 1 + index, size))
    newest = head + len(sizes)
    found = ring.since(Seq(after))
    if after + 1 < ring.floor:
        assert found is None
    else:
        assert found is not None
        assert [one.seq for one in found] == list(range(max(after, 0) + 1, newest + 1))


@given(st.lists(st.integers(1, 100), min_size=1, max_size=60))
def test_bounds_hold(sizes: list[int]) -> None:
    """Never more entries or bytes than allowed, but always the newest entry."""
    ring = Ring(Seq(0), entries_max=10, bytes_max=250)
    for index, size in enumerate(sizes):
        ring.append(entry(index + 1, size))
    held = ring.since(Seq(ring.floor - 1))
    assert held is not None
    assert 1 <= len(held) <= 10
    assert len(held) == 1 or sum(len(one.body) for one in held) <= 250


def test_get_and_find() -> None:
    """Entries are found by seq and by stream position; what is not held is None."""
    ring = Ring(Seq(4), entries_max=3, bytes_max=1000)
    for seq in range(5, 10):
        ring.append(entry(seq))
    assert ring.floor == 7
    assert ring.get(Seq(6)) is None
    assert ring.get(Seq(10)) is None
    seventh = ring.get(Seq(7))
    assert seventh is not None
    assert ring.find(StreamSeq(21)) is seventh
    assert ring.find(StreamSeq(22)) is None
    assert ring.find(StreamSeq(3)) is None


def test_rings_share_a_budget() -> None:
    """Beyond the budget a ring that grows gives way, others keep what they have, and closing frees it."""
    budget = Budget(200 * (ENTRY_BYTES + 10))
    quiet, busy = (Ring(Seq(0), entries_max=1000, bytes_max=10**6, budget=budget) for _ in range(2))
    for seq in range(1, 101):
        quiet.append(entry(seq))
    for seq in range(1, 500):
        busy.append(entry(seq))
    assert quiet.floor == 1
    assert busy.since(Seq(499 - 99)) is not None
    assert busy.since(Seq(499 - 102)) is None
    assert not budget.is_exceeded
    quiet.clear()
    assert budget.held_bytes == (499 - busy.floor + 1) * (ENTRY_BYTES + 10)
    assert quiet.since(Seq(100)) == []


def test_a_ring_keeps_a_few_whatever_the_budget() -> None:
    """What somebody waits for right now is there even when the memory is full."""
    ring = Ring(Seq(0), entries_max=1000, bytes_max=10**6, budget=Budget(0))
    for seq in range(1, 200):
        ring.append(entry(seq))
    assert ring.floor == 199 - ENTRIES_MIN + 1


def said(seq: int, author: str, *, ref: int | None = None) -> Entry:
    """A message of somebody, or a later text of one."""
    who = {"id": new_command_id(1_790_000_000_000), "author": UserId(author), "text": "Xsecret"}
    event = (
        MessagePosted(**who) if ref is None else MessageEdited(**who, ref=Seq(ref), ref_author=UserId(author))
    )
    recorded = Recorded(KEY, Seq(seq), StreamSeq(seq), 0, event)
    return Entry(recorded, wire(recorded), seq)


def test_what_an_erasure_names_loses_its_text() -> None:
    """The message and its edits, or all of a user; who holds an entry holds an emptied one."""
    for erasure, named in (
        (Erasure(KEY, StreamSeq(9), Seq(9), ref=Seq(2)), {2, 4}),
        (Erasure(KEY, StreamSeq(9), Seq(5), user=UserId("bob")), {3}),
        (Erasure(KEY, StreamSeq(9), Seq(9), expired=Expired(Seq(1), Seq(3), 0)), {1, 2, 4}),
    ):
        budget = Budget(10**6)
        ring = Ring(Seq(0), entries_max=10, bytes_max=10**6, budget=budget)
        held = [said(1, "ann"), said(2, "ann"), said(3, "bob"), said(4, "ann", ref=2), said(5, "bob")]
        for one in held:
            ring.append(one)
        ring.erase(erasure)
        assert {one.seq for one in held if b"Xsecret" not in one.body} == named
        assert all(b'"erased":true' in one.body for one in held if one.seq in named)
        assert all("Xsecret" not in str(one.recorded) for one in held if one.seq in named)
        assert budget.held_bytes == sum(len(one.body) + ENTRY_BYTES for one in held)
        ring.clear()
        assert budget.held_bytes == 0
