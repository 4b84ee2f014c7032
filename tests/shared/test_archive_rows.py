"""A row gives back what the log stored, byte for byte, whatever that was."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.archive_rows import Row, body_of, body_text, recorded_of, row_of
from shared.events import Recorded, decode, encode
from shared.ids import ChannelId, ChannelKey, Seq, StreamSeq, WorkspaceId
from tests.support.events import any_event

KEY = ChannelKey(WorkspaceId("acme"), ChannelId("tea"))
WHOLE = {
    "v": 1,
    "id": "0192f0c1-2b3c-7def-8abc-0123456789ab",
    "author": "al",
    "kind": "pin.added",
    "ref": 1,
}


def recorded(body: bytes, void: str | None = None) -> Recorded:
    """The event of a body at some position."""
    return Recorded(KEY, Seq(7), StreamSeq(9), 1_790_000_000_000_001, decode(body), void)


def check(body: bytes, void: str | None = None) -> Row:
    """There and back."""
    at = recorded(body, void)
    row = row_of(at, body)
    assert body_of(row) == body
    assert recorded_of(row) == at
    return row


@given(any_event(), st.none() | st.text(max_size=20))
def test_every_event_comes_back(event: object, void: str | None) -> None:
    """Any event of any kind, imported or void, with any Unicode."""
    row = check(encode(event), void)  # type: ignore[arg-type]
    assert row.kind
    assert row.extras is None or "body" not in json.loads(row.extras)


@given(st.binary(max_size=200))
def test_any_bytes_come_back(body: bytes) -> None:
    """A body that is no event at all is kept as it is, and never reads as an event afterwards."""
    row = check(body, "unreadable")
    assert decode(body_text(body).encode()) == decode(body_of(row))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_text_has_a_column(text: str) -> None:
    """What people search stands in its own column, NUL and all."""
    fields = {**WHOLE, "kind": "message.posted", "text": text, "thread": 3}
    row = check(encode(decode(json.dumps(fields).encode())))  # type: ignore[arg-type]
    assert (row.text, row.thread, row.author, row.extras) == (text, 3, "al", None)


@pytest.mark.parametrize(
    "change",
    [
        {"new_field": {"deep": [1, 2]}},
        {"id": "not a uuid"},
        {"id": WHOLE["id"].upper()},  # type: ignore[attr-defined]
        {"ref": 2**80},
        {"ref": -(2**63)},
        {"ref": 1.0},
        {"author": "nul \x00"},
        {"imported": {"by": "x", "at": "1999", "more": 1}},
    ],
)
def test_odd_events_come_back_whole(change: dict[str, object]) -> None:
    """Unknown fields, odd ids and numbers too large for a column are not lost."""
    check(json.dumps(WHOLE | change).encode())


def test_invalid_utf8_never_becomes_an_event() -> None:
    """Bytes that only look like an event once they are repaired stay unreadable on the wire."""
    good = encode(decode(json.dumps({**WHOLE, "kind": "message.posted", "text": "a?b"}).encode()))  # type: ignore[arg-type]
    broken = good.replace(b"?", b"\xff")
    row = check(broken, "unreadable")
    assert row.kind == "unreadable"
    assert body_text(broken) == ""
