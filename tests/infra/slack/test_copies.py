"""Records with one `ts` are one message, with its versions, whichever folder or file holds them."""

from __future__ import annotations

import itertools

import pytest

from infra.slack.copies import merged, ts_of
from infra.slack.export import Record
from infra.slack.tally import Tally

OLD = {"ts": "1.0", "user": "U1", "text": "helo"}
NEW = {"ts": "1.0", "user": "U1", "text": "hello", "edited": {"user": "U1", "ts": "5.0"}}
NEWEST = {"ts": "1.0", "text": "hello!", "edited": {"ts": "7.0"}}
GONE = {"ts": "1.0", "user": "USLACKBOT", "subtype": "tombstone", "text": "This message was deleted."}


@pytest.mark.parametrize("order", list(itertools.permutations([OLD, NEW, NEWEST])))
def test_versions_are_in_the_order_of_their_edits(order: tuple[Record, ...]) -> None:
    """Wherever they stand; one of them may have lost its author."""
    tally = Tally()
    (saying,) = merged(order, tally)
    assert saying.versions == ((-1, OLD), (5_000_000, NEW), (7_000_000, NEWEST))
    assert saying.record is NEWEST
    assert tally.merged.total() == 2


@pytest.mark.parametrize("order", list(itertools.permutations([OLD, NEW, GONE])))
def test_a_tombstone_is_all_that_is_left(order: tuple[Record, ...]) -> None:
    """Text that was deleted in Slack is not brought back by an older copy."""
    (saying,) = merged(order, Tally())
    assert saying.versions == ((-1, GONE),)


def test_the_last_of_equal_copies_counts() -> None:
    """The export ends with what is newest."""
    (saying,) = merged([OLD, {**OLD, "text": "hello"}], Tally())
    assert [record["text"] for _, record in saying.versions] == ["hello"]


def test_two_authors_are_two_messages() -> None:
    """Slack has no such thing, but nothing is lost when somebody has."""
    tally = Tally()
    sayings = merged([OLD, {**OLD, "user": "U2"}, {**OLD, "subtype": "channel_join"}], tally)
    assert [saying.key for saying in sayings] == ["1.0", "1.0 1", "1.0 2"]
    assert not tally.merged


@pytest.mark.parametrize(
    ("ts", "usable"),
    [("1.5", "1.5"), (7, "7"), (True, None), (1.5, None), (10**30, None), ("", None), (None, None)],
)
def test_times(ts: object, usable: str | None) -> None:
    """A number is a time as well; what is none is counted, and by its time every record is sorted."""
    assert ts_of({"ts": ts}) == usable
    tally = Tally()
    assert len(merged([{"ts": ts}], tally)) == tally.records + (usable is not None)
    assert tally.skipped.total() == (usable is None)
