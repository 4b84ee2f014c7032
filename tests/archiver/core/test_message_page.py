"""Pages of messages: which of them, and where they are cut."""

from __future__ import annotations

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from archiver.core.message_page import Chosen, page_of, wanted_of
from archiver.core.page import PAGE_BYTES_MAX
from shared.ids import CommandId, Seq
from shared.message_records import Message, MessagesRequest
from tests.support.archive import ALICE, WORKSPACE, key_of

SEQS = st.sets(st.integers(1, 60), max_size=20).map(sorted)
PLACE = st.sampled_from(["before", "after", "around", "newest"])


def choice(seqs: list[int], place: str, seq: int, limit: int) -> Chosen:
    """The page that a request gives, of messages with these numbers."""
    given = {} if place == "newest" else {place: seq}
    request = {"workspace": WORKSPACE, "channel": key_of("a").channel, "limit": limit, **given}
    wanted = wanted_of(MessagesRequest.model_validate(request))
    at = bisect_left(seqs, wanted.point)
    below, above = seqs[max(0, at - wanted.below) : at], seqs[at : at + wanted.above]
    return wanted.choose([Seq(it) for it in below], [Seq(it) for it in above])


@given(SEQS, PLACE, st.integers(0, 62), st.integers(1, 25))
def test_a_page_is_the_slice_asked_for(seqs: list[int], place: str, seq: int, limit: int) -> None:
    """The nearest messages in that direction, and whether there are more on either side."""
    chosen = choice(seqs, place, seq, limit)
    if place == "newest":
        expected = seqs[-limit:]
    elif place == "before":
        expected = [it for it in seqs if it < seq][-limit:]
    elif place == "after":
        expected = [it for it in seqs if it > seq][:limit]
    else:
        at = min(bisect_left(seqs, seq), max(0, len(seqs) - 1))
        first = max(0, min(at - limit // 2, len(seqs) - limit))
        expected = seqs[first : first + limit]
    assert list(chosen.seqs) == expected
    if expected:
        assert chosen.more_before == (expected[0] > seqs[0])
        assert chosen.more_after == (expected[-1] < seqs[-1])
        assert 0 <= chosen.pivot < len(expected)
    else:
        point = seq + (place == "after")
        assert chosen.more_before == any(it < point for it in seqs)
        assert chosen.more_after == any(it >= point for it in seqs)


@given(PLACE, st.integers(1, 40))
def test_bytes_cut_a_page_far_from_its_place(place: str, seq: int) -> None:
    """What was asked for is on it, however long it is, and what was cut off is said to be more."""
    seqs = list(range(1, 41))
    chosen = choice(seqs, place, seq, 30)
    text = "x" * (PAGE_BYTES_MAX // 5)
    messages = {
        it: Message(seq=it, at_us=1, id=CommandId("i"), author=ALICE, text=text) for it in chosen.seqs
    }
    page = page_of(chosen, messages, Seq(40))
    found = [message.seq for message in page.messages]
    assert len(found) == min(4, len(chosen.seqs))
    if found:
        assert chosen.seqs[chosen.pivot] in found
        assert found == list(range(found[0], found[-1] + 1))
        assert (page.more_before, page.more_after) == (found[0] > 1, found[-1] < 40)
