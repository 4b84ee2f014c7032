"""Events: one definition, one stored form; what cannot be read is void, not fatal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import events as e
from shared.channel import judge
from shared.fingerprints import fingerprint
from shared.ids import ChannelId, ChannelKey, CommandId, Seq, StreamSeq, UserId, WorkspaceId
from shared.wire_form import wire
from tests.support.events import KINDS, any_event, content, example, required

KEY = ChannelKey(WorkspaceId("w"), ChannelId("general"))
ID = CommandId("01001d1b-f800-70cb-9ab0-c5e6d6983312")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


def recorded(event: e.Event, void: str | None = None) -> e.Recorded:
    """`event` at a position."""
    return e.Recorded(KEY, Seq(7), StreamSeq(99), 1_764_043_200_123_456, event, void)


def test_every_kind_of_the_protocol_is_defined() -> None:
    """P14's kinds, no more and no less."""
    assert {kind.kind for kind in KINDS} == {
        "channel.created", "channel.renamed", "channel.topic_set", "channel.archived", "channel.unarchived",
        "channel.retention_set", "messages.expired",
        "message.posted", "message.edited", "message.deleted", "message.erased", "user.erased",
        "reaction.added", "reaction.removed",
        "member.joined", "member.left", "member.invited", "member.removed", "member.role_changed",
        "pin.added", "pin.removed",
    }  # fmt: skip


@given(any_event())
def test_every_event_survives_storage(event: e.KnownEvent) -> None:
    """Stored and read back it is the same event, and stored again the same bytes."""
    body = e.encode(event)
    assert e.decode(body) == event
    assert e.encode(event) == body


@given(any_event())
def test_an_event_is_stored_whole(event: e.KnownEvent) -> None:
    """The version first, the kind, and every field that has a value, also where it is the usual one."""
    stored = json.loads(e.encode(event))
    assert list(stored)[:2] == ["v", "kind"]
    assert stored == content(event) | {"v": 1}


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_unreadable(body: bytes) -> None:
    """No body can make `decode` raise."""
    assert isinstance(e.decode(body), e.Unreadable)


@given(JSON, st.sampled_from(KINDS))
def test_arbitrary_json_never_raises(value: object, kind: type[e.KnownEvent]) -> None:
    """JSON of any shape, even with the fields of a kind, is an event or unreadable, and can be shown."""
    fields = dict.fromkeys(kind.__struct_fields__, value) | {"kind": kind.kind, "v": 1}
    for body in (json.dumps(value), json.dumps(fields), json.dumps(fields | {"id": ID, "author": "a"})):
        event = e.decode(body.encode())
        assert wire(recorded(event))
        assert isinstance(fingerprint(event), str)


BAD_FIELDS: list[dict[str, object]] = [
    {"v": 2},
    {"kind": "message.shouted"},
    {"text": "\ud800"},
    {"text": None},
    {"author": ""},
    {"author": "a\x00b"},
    {"author": "x" * 256},
    {"thread": 0},
    {"thread": -1},
    {"thread": 2**53},
    {"thread": 10**30},
    {"imported": {"by": "", "at": "2004-11-09T00:00:00Z"}},
]


@pytest.mark.parametrize("fields", BAD_FIELDS, ids=str)
def test_a_bad_field_makes_an_event_unreadable(fields: dict[str, object]) -> None:
    """Another version, an unknown kind, a user who has no token, a number no client can hold: void."""
    good = {"v": 1, "kind": "message.posted", "id": ID, "author": "alice", "text": "hi"}
    assert isinstance(e.decode(json.dumps(good).encode()), e.MessagePosted)
    assert isinstance(e.decode(json.dumps(good | fields).encode()), e.Unreadable)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_field_makes_an_event_unreadable(kind: type[e.KnownEvent]) -> None:
    """Every field that a kind needs is needed when it is read."""
    whole = json.loads(e.encode(example(kind)))
    for name in ("kind", *required(kind)):
        less = {key: value for key, value in whole.items() if key != name}
        assert isinstance(e.decode(json.dumps(less).encode()), e.Unreadable), name


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_field_is_ignored(kind: type[e.KnownEvent]) -> None:
    """A later version may add fields without blinding this one."""
    event = example(kind)
    body = json.dumps(json.loads(e.encode(event)) | {"added_later": [1]}).encode()
    assert e.decode(body) == event


def test_an_unreadable_event_is_void() -> None:
    """Every fold says so, with and without a state."""
    assert judge(None, e.Unreadable()) == "unreadable"


def test_events_are_frozen() -> None:
    """A fact does not change after it was made."""
    with pytest.raises(AttributeError, match="immutable"):
        example(e.MessagePosted).author = UserId("mallory")  # type: ignore[misc]
