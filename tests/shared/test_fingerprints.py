"""Fingerprints: equal for what says the same, and mute about what was erased."""

from __future__ import annotations

from hypothesis import given
from msgspec.structs import replace

from shared import events as e
from shared.fingerprints import ERASED, digest, fingerprint, says
from shared.ids import CommandId, Seq, UserId
from tests.support.events import any_event

ID = CommandId("019a9e5c-7c00-7000-8000-000000000001")


def said(event: e.KnownEvent) -> list[object]:
    """All of an event but what its sender has not chosen."""
    names = [name for name in event.__struct_fields__ if name not in {"ref_author", "imported"}]
    return [event.kind, event.imported and event.imported.at, *(getattr(event, name) for name in names)]


@given(any_event(), any_event())
def test_fingerprints_tell_events_apart(one: e.KnownEvent, other: e.KnownEvent) -> None:
    """Equal content, equal fingerprint, across storage; other content, another one (P12)."""
    assert fingerprint(one) == fingerprint(e.decode(e.encode(one)))
    assert (fingerprint(one) == fingerprint(other)) == (said(one) == said(other))


def test_a_fingerprint_sees_every_field_but_what_the_edge_looks_up() -> None:
    """`ref_author` is no part of what the sender said; each other field is."""
    edit = e.MessageEdited(id=ID, author=UserId("a"), ref=Seq(3), ref_author=UserId("b"), text="x")
    same = replace(edit, ref_author=UserId("c"))
    assert fingerprint(edit) == fingerprint(same)
    for change in ({"text": "y"}, {"ref": 4}, {"author": "b"}, {"id": ID[:-1] + "3"}):
        assert fingerprint(edit) != fingerprint(replace(edit, **change)), change


def test_a_fingerprint_is_the_same_whoever_imports() -> None:
    """Another importer's retry says the same; another time, or no import at all, says something else."""
    first = e.Imported(by=UserId("importer"), at="2004-11-09T00:00:00Z")
    post = e.MessagePosted(id=ID, author=UserId("a"), text="x", imported=first)
    other = replace(post, imported=e.Imported(UserId("another"), first.at))
    assert fingerprint(post) == fingerprint(other)
    later = replace(post, imported=e.Imported(first.by, "2004-11-10T00:00:00Z"))
    assert len({fingerprint(at) for at in (post, later, replace(post, imported=None))}) == 3


def test_fingerprints_stay() -> None:
    """What is recorded under one version is known under the next: these never change."""
    post = e.MessagePosted(id=ID, author=UserId("a"), text="x")
    assert fingerprint(post) == digest(e.encode(post)) == "2d9be67de05937ce"
    imported = replace(post, imported=e.Imported(UserId("i"), "2004-11-09T00:00:00Z"))
    assert fingerprint(imported) == "7df958327b78795d"
    assert (
        fingerprint(e.ReactionAdded(id=ID, author=UserId("a"), ref=Seq(1), emoji="🎉")) == "62baa577c8335c7a"
    )


def test_an_erased_event_may_have_said_anything() -> None:
    """Whoever gives the command again hears that it is recorded, whatever it says now."""
    post = e.MessagePosted(id=ID, author=UserId("a"), text="x")
    erased = replace(post, text="", erased=True)
    assert fingerprint(erased) == ERASED
    assert says(fingerprint(erased), post)
    assert says(fingerprint(post), post)
    assert not says(fingerprint(post), replace(post, text="y"))
