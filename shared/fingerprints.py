"""Whether two events with one id say the same (P12)."""

from __future__ import annotations

import hashlib

import orjson

from shared.events import Event, MessageEdited, MessagePosted

ERASED = ""
"""Of an event whose text was erased: nobody can tell any more what it said."""

_UNSAID: dict[str, bool | dict[str, bool]] = {
    "v": True,
    "ref_author": True,
    "operator": True,
    "imported": {"by": True},
}
"""Fields of a stored event that its sender has not chosen."""


def fingerprint(event: Event) -> str:
    """16 hex digits that are equal if and only if two events with one id say the same; or `ERASED`.

    Who brought an event in is no part of what it says: another importer's retry is a duplicate.
    """
    if isinstance(event, MessagePosted | MessageEdited) and event.erased:
        return ERASED
    if isinstance(event, MessagePosted):  # most events: a third of what the model costs
        posted: dict[str, object] = {
            "author": event.author,
            "id": event.id,
            "kind": event.kind,
            "text": event.text,
        }
        if event.imported is not None:
            posted["imported"] = {"at": event.imported.at}
        if event.thread is not None:
            posted["thread"] = event.thread
        return _digest(posted)
    return _digest(event.model_dump(mode="json", exclude=_UNSAID, exclude_none=True))


def _digest(fields: dict[str, object]) -> str:
    return hashlib.blake2b(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def says(known: str, event: Event) -> bool:
    """Whether a recorded event, of which the fingerprint is known, may be this one."""
    return known in {ERASED, fingerprint(event)}
