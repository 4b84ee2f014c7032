"""Fingerprints: equal for what says the same, and mute about what was erased."""

from __future__ import annotations

from hypothesis import given

from shared import events as e
from shared.fingerprints import _UNSAID, ERASED, _digest, fingerprint, says
from shared.ids import CommandId, Seq, UserId
from tests.support.events import any_event

ID = CommandId("019a9e5c-7c00-7000-8000-000000000001")


@given(any_event(), any_event())
def test_fingerprints_tell_events_apart(one: e.KnownEvent, other: e.KnownEvent) -> None:
    """Equal content, equal fingerprint, across storage; other content, another one (P12)."""
    assert fingerprint(one) == fingerprint(e.decode(e.encode(one)))
    unsaid = {"ref_author": True, "imported": {"by": True}}
    same = one.model_dump(exclude=unsaid) == other.model_dump(exclude=unsaid)
    assert (fingerprint(one) == fingerprint(other)) == same


def test_a_fingerprint_sees_every_field_but_what_the_edge_looks_up() -> None:
    """`ref_author` is no part of what the sender said; each other field is."""
    edit = e.MessageEdited(id=ID, author=UserId("a"), ref=Seq(3), ref_author=UserId("b"), text="x")
    same = edit.model_copy(update={"ref_author": UserId("c")})
    assert fingerprint(edit) == fingerprint(same)
    for change in ({"text": "y"}, {"ref": 4}, {"author": "b"}, {"id": ID[:-1] + "3"}):
        assert fingerprint(edit) != fingerprint(edit.model_copy(update=change)), change


def test_a_fingerprint_is_the_same_whoever_imports() -> None:
    """Another importer's retry says the same; another time, or no import at all, says something else."""
    first = e.Imported(by=UserId("importer"), at="2004-11-09T00:00:00Z")
    post = e.MessagePosted(id=ID, author=UserId("a"), text="x", imported=first)
    other = post.model_copy(update={"imported": first.model_copy(update={"by": UserId("another")})})
    assert fingerprint(post) == fingerprint(other)
    later = post.model_copy(update={"imported": first.model_copy(update={"at": "2004-11-10T00:00:00Z"})})
    assert len({fingerprint(at) for at in (post, later, post.model_copy(update={"imported": None}))}) == 3


@given(any_event())
def test_a_message_has_the_digest_of_its_model(event: e.KnownEvent) -> None:
    """However it is computed: what is recorded under one version is known under the next."""
    fields = event.model_dump(mode="json", exclude=_UNSAID, exclude_none=True)
    if not fields.get("erased"):
        assert fingerprint(event) == _digest(fields)


def test_an_erased_event_may_have_said_anything() -> None:
    """Whoever gives the command again hears that it is recorded, whatever it says now."""
    post = e.MessagePosted(id=ID, author=UserId("a"), text="x")
    erased = post.model_copy(update={"text": "", "erased": True})
    assert fingerprint(erased) == ERASED
    assert says(fingerprint(erased), post)
    assert says(fingerprint(post), post)
    assert not says(fingerprint(post), post.model_copy(update={"text": "y"}))
