"""Storing what no service has written."""

from __future__ import annotations

import secrets

from shared.bus import Bus, PubAck

STORED_WITHIN_S = 60.0


async def put(bus: Bus, subject: str, body: bytes) -> PubAck:
    """Store a message, once. It has an id of its own: without one a single try of half a second is all."""
    return await bus.commit(subject, body, msg_id=secrets.token_hex(8), deadline_s=STORED_WITHIN_S)
