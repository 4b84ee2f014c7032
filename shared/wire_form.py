"""What clients see of an event: one form, the same bytes for every recipient (P20)."""

from __future__ import annotations

import msgspec

from shared.clock import rfc3339
from shared.events import MessageDeleted, MessageEdited, Recorded, Unreadable

_encoder = msgspec.json.Encoder()


def wire(recorded: Recorded) -> bytes:
    """The JSON object that clients see for an event, live, replayed or paged (P19, P20)."""
    event = recorded.event
    if recorded.void is not None or isinstance(event, Unreadable):
        shown = _encoder.encode({"kind": "void", "author": event.author, "id": event.id})
    elif isinstance(event, MessageEdited | MessageDeleted):  # no client sees whose message it was
        fields = msgspec.to_builtins(event)
        del fields["ref_author"]
        shown = _encoder.encode(fields)
    else:
        shown = _encoder.encode(event)
    at = f'"channel":"{recorded.key.channel}","seq":{recorded.seq},"ts":"{rfc3339(recorded.at_us)}"'
    return f'{{"type":"event",{at},'.encode() + shown[1:]
