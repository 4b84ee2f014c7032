"""What clients see of an event: one form, the same bytes for every recipient (P20)."""

from __future__ import annotations

import orjson

from shared.clock import rfc3339
from shared.events import MessagePosted, Recorded, Unreadable, posted_fields


def wire(recorded: Recorded) -> bytes:
    """The JSON object that clients see for an event, live, replayed or paged (P19, P20)."""
    event = recorded.event
    if recorded.void is not None or isinstance(event, Unreadable):
        shown = orjson.dumps({"kind": "void", "author": event.author, "id": event.id})
    elif isinstance(event, MessagePosted):
        shown = posted_fields(event)
    else:
        shown = event.model_dump_json(exclude=_UNSEEN, exclude_none=True).encode()
    at = f'"channel":"{recorded.key.channel}","seq":{recorded.seq},"ts":"{rfc3339(recorded.at_us)}"'
    return f'{{"type":"event",{at},'.encode() + shown[1:]


_UNSEEN = {"v", "ref_author"}
"""Fields of a stored event that no client sees."""
