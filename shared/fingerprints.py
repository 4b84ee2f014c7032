"""Whether two events with one id say the same (P12)."""

from __future__ import annotations

import hashlib

import msgspec

from shared.events import Event, MessageEdited, MessagePosted, encode

ERASED = ""
"""Of an event whose text was erased: nobody can tell any more what it said."""

_UNSAID = ("ref_author", "operator")
"""Fields of a stored event that its sender has not chosen; nor who imported it."""


def fingerprint(event: Event) -> str:
    """16 hex digits that are equal if and only if two events with one id say the same; or `ERASED`.

    Who brought an event in is no part of what it says: another importer's retry is a duplicate.
    """
    if isinstance(event, MessagePosted | MessageEdited) and event.erased:
        return ERASED
    if isinstance(event, MessagePosted) and event.imported is None:  # most events
        return digest(encode(event))
    said = msgspec.to_builtins(event)
    for name in _UNSAID:
        said.pop(name, None)
    if event.imported is not None:
        del said["imported"]["by"]
    return digest(msgspec.json.encode(said))


def digest(body: bytes) -> str:
    """The fingerprint of a message that was not imported, by the body that `encode` makes of it."""
    return hashlib.blake2b(body, digest_size=8).hexdigest()


def says(known: str, event: Event) -> bool:
    """Whether a recorded event, of which the fingerprint is known, may be this one."""
    return known in {ERASED, fingerprint(event)}
