"""Erasure: exactly what an event of the log names loses its text, and nothing but its text."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import events as e
from shared.archive_rows import body_of, recorded_of, row_of
from shared.channel import fold
from shared.clock import rfc3339
from shared.erasure import Erasure, Erasures, Expired, emptied, erasure_of
from shared.events import Recorded, decode, encode
from shared.fingerprints import fingerprint, says
from shared.ids import Seq, StreamSeq, UserId
from tests.support.archive import created, key_of, posted
from tests.support.events import any_event

TEA = key_of("tea")
ANN = UserId("ann")


def recorded(event: e.Event, seq: int = 7, void: str | None = None) -> Recorded:
    """An event at a position."""
    return Recorded(TEA, Seq(seq), StreamSeq(seq * 3), 1_790_000_000_000_000, event, void)


def erased_message(ref: int) -> e.MessageErased:
    """An erasure of one message."""
    return e.MessageErased(**_who(), ref=Seq(ref))


def erased_user(user: UserId) -> e.UserErased:
    """An erasure of what somebody said."""
    return e.UserErased(**_who(), user=user)


OLD_US = 1_788_000_000_000_000


def expired_messages(since: int, before: int) -> e.MessagesExpired:
    """What was said below a number has expired."""
    return e.MessagesExpired(**_who(), since=Seq(since), before=Seq(before), older_than=rfc3339(OLD_US))


def _who() -> dict[str, Any]:
    event = posted("x")
    return {"id": event.id, "author": event.author}


@pytest.mark.parametrize(
    ("seq", "kind", "author", "ref", "by_ref", "by_user"),
    [
        (3, "message.posted", "ann", None, True, True),
        (4, "message.posted", "ann", None, False, True),
        (5, "message.edited", "ann", 3, True, True),
        (5, "message.edited", "ann", 4, False, True),
        (5, "message.edited", "bob", 3, True, False),
        (6, "reaction.added", "ann", 3, False, False),
        (6, "message.deleted", "ann", 3, False, False),
        (3, "unreadable", "", None, True, False),
        (9, "message.posted", "ann", None, False, False),
        (10, "message.edited", "ann", 3, False, False),
    ],
)
def test_what_is_named(
    seq: int, kind: str, author: str, ref: int | None, by_ref: bool, by_user: bool
) -> None:
    """A message with its edits, or what a user has said; only what stands below the erasure."""
    one = erasure_of(recorded(erased_message(3), seq=9))
    other = erasure_of(recorded(erased_user(ANN), seq=9))
    assert one == Erasure(TEA, StreamSeq(27), Seq(9), ref=Seq(3))
    assert other == Erasure(TEA, StreamSeq(27), Seq(9), user=ANN)
    assert one.names(seq, kind, author, ref) is by_ref
    assert other.names(seq, kind, author, ref) is by_user


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.sampled_from(["ref", "user", "expired"]), st.integers(1, 9)),
        max_size=6,
    ),
    st.integers(1, 9),
    st.sampled_from(["message.posted", "message.edited", "reaction.added", "unreadable"]),
    st.sampled_from(["u1", "u2"]),
    st.integers(1, 9),
)
def test_many_name_what_any_of_them_names(
    said: list[tuple[int, str, int]], seq: int, kind: str, author: str, ref: int
) -> None:
    """Looking it up says the same as asking one after another."""
    one_by_one: list[Erasure] = []
    expired = 1
    for before, how, what in sorted(said):
        if how == "ref":
            one_by_one.append(Erasure(TEA, StreamSeq(before), Seq(before), ref=Seq(what)))
        elif how == "user":
            one_by_one.append(Erasure(TEA, StreamSeq(before), Seq(before), user=UserId(f"u{what % 3}")))
        elif expired < what <= before:
            span = Expired(Seq(expired), Seq(what), 0)
            one_by_one.append(Erasure(TEA, StreamSeq(before), Seq(before), expired=span))
            expired = what
    named = Erasures(one_by_one).name(TEA, seq, kind, author, ref)
    assert named == any(erasure.names(seq, kind, author, ref) for erasure in one_by_one)
    assert not Erasures(one_by_one).name(key_of("go"), seq, kind, author, ref)


@pytest.mark.parametrize(
    ("seq", "kind", "ref", "named"),
    [
        (4, "message.posted", None, True),
        (5, "message.posted", None, False),
        (4, "message.edited", 3, True),
        (7, "message.edited", 4, True),
        (7, "message.edited", 5, False),
        (9, "message.edited", 3, False),
        (4, "reaction.added", 3, False),
        (4, "message.deleted", 3, False),
        (4, "unreadable", None, False),
    ],
)
def test_what_has_expired_is_named(seq: int, kind: str, ref: int | None, named: bool) -> None:
    """Everything said below a number, whoever said it, and later edits of it; nothing that is not said."""
    one = erasure_of(recorded(expired_messages(2, 5), seq=9))
    assert one == Erasure(TEA, StreamSeq(27), Seq(9), expired=Expired(Seq(2), Seq(5), OLD_US))
    for author in ("ann", "bob"):
        assert one.names(seq, kind, author, ref) is named
        assert Erasures([one]).name(TEA, seq, kind, author, ref) is named
    assert TEA in Erasures([one])
    assert Erasures([one]).expired(TEA) == (Seq(9), one.expired)


def test_nothing_expires_that_comes_later() -> None:
    """Whatever number an expiry names, what follows the event is not meant."""
    one = erasure_of(recorded(expired_messages(1, 50), seq=9))
    assert one is not None
    assert one.expired == Expired(Seq(1), Seq(9), OLD_US)
    assert not one.names(9, "message.posted", "ann", None)


def test_several_expiries_are_one() -> None:
    """From where the first begins to where the last ends: what was erased before need not be looked at."""
    both = [
        erasure_of(recorded(expired_messages(*span), seq=seq)) for span, seq in (((3, 5), 8), ((5, 7), 9))
    ]
    joined = Erasures([one for one in both if one is not None])
    assert joined.expired(TEA) == (Seq(9), Expired(Seq(3), Seq(7), OLD_US))
    assert joined.expired(key_of("go")) is None


def test_a_void_erasure_erases_nothing() -> None:
    """Nor does any other event."""
    assert erasure_of(recorded(erased_message(3), void="no such channel")) is None
    assert erasure_of(recorded(posted("x"))) is None


@given(any_event())
def test_only_the_text_goes(event: e.KnownEvent) -> None:
    """The row still gives its body back, the fold says the same, and its id is still known as the same."""
    before = recorded(event)
    after, body = emptied(before)
    assert recorded_of(row_of(after, body)) == after
    assert body_of(row_of(after, body)) == body
    assert decode(body) == after.event
    assert fold(None, after.event) == fold(None, event)
    assert says(fingerprint(after.event), event)
    changed = {
        name for name in type(event).__struct_fields__ if getattr(after.event, name) != getattr(event, name)
    }
    assert changed <= {"text", "erased"}
    if isinstance(event, e.MessagePosted | e.MessageEdited):
        assert after.event == msgspec.structs.replace(event, text="", erased=True)


def test_nothing_is_left_of_a_body_that_nobody_can_read() -> None:
    """It stays unreadable, numbered and void."""
    after, body = emptied(recorded(decode(b"\xff secret"), void="unreadable"))
    assert (after.event.kind, after.void, body) == ("unreadable", "unreadable", b"erased")
    assert decode(body) == after.event


def test_a_message_is_counted_as_before() -> None:
    """Unread is a difference of counts: erasing must not change one."""
    state, _ = fold(None, created())
    event = posted("x")
    assert fold(state, event) == fold(state, emptied(recorded(event))[0].event)
    assert encode(event) != emptied(recorded(event))[1]
