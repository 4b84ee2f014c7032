"""Where an event stands: the log's verdict and the first body under an id are the answer (P12)."""

from __future__ import annotations

import pytest

from edge.core import recording
from edge.core.recording import Recording, told_apart
from edge.core.ring import Entry
from shared.envelope import PubAck
from shared.errors import Conflict, Forbidden
from shared.events import MessagePosted, Recorded
from shared.ids import ChannelId, ChannelKey, Seq, StreamSeq, UserId, WorkspaceId, new_command_id
from shared.records import known_of
from shared.wire_form import wire

KEY = ChannelKey(WorkspaceId("w"), ChannelId("c"))
ID = new_command_id(1_795_000_000_000)


def posted(text: str) -> MessagePosted:
    """A message under one id."""
    return MessagePosted(id=ID, author=UserId("ann"), text=text)


def entry(text: str, void: str | None = None) -> Entry:
    """That message at number 7 of the log."""
    recorded = Recorded(KEY, Seq(7), StreamSeq(70), 123, posted(text), void)
    return Entry(recorded, wire(recorded), 1)


def test_an_entry_answers_with_its_place() -> None:
    """Number and time are the log's."""
    assert recording.of_entry(entry("a"), duplicate=False) == Recording(Seq(7), 123, duplicate=False)
    assert recording.of_same(entry("a"), posted("a"), duplicate=True) == Recording(
        Seq(7), 123, duplicate=True
    )


def test_another_body_is_a_conflict() -> None:
    """The same id is the same message for ever."""
    with pytest.raises(Conflict):
        recording.of_same(entry("a"), posted("b"), duplicate=True)
    with pytest.raises(Conflict):
        recording.of_known(known_of(entry("a").recorded), posted("b"))


def test_a_void_event_is_refused_with_its_reason() -> None:
    """It keeps its number, and its author hears why it counts for nothing."""
    with pytest.raises(Forbidden, match="author is not a member"):
        recording.of_entry(entry("a", "author is not a member"), duplicate=False)
    with pytest.raises(Forbidden, match="author is not a member"):
        recording.of_known(known_of(entry("a", "author is not a member").recorded), posted("a"))


def test_what_the_archive_knows_is_a_duplicate() -> None:
    """An old id that stands in the log already."""
    known = known_of(entry("a").recorded)
    assert (known.seq, known.stream_seq) == (7, 70)
    assert recording.of_known(known, posted("a")) == Recording(Seq(7), 123, duplicate=True)


@pytest.mark.parametrize(
    ("duplicate", "retried", "stream_seq", "own"),
    [(True, True, 7, False), (True, True, 8, True), (False, False, 8, False), (True, False, 8, False)],
)
def test_a_retry_meets_its_own_first_try_or_an_older_one(
    duplicate: bool, retried: bool, stream_seq: int, own: bool
) -> None:
    """What the feed had before the command began (up to 7) is no first try of it."""
    ack = PubAck("LOG_0", StreamSeq(stream_seq), duplicate, retried)
    assert told_apart(ack, StreamSeq(7)).retried is own
