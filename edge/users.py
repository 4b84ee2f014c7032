"""Facts for one user's sessions, wherever they are: memberships, read markers, revocations.

One core NATS subscription per user who has a session here, shared by that user's sessions on this edge.
What is missed while NATS is away is missed: memberships are read again when a session opens, and read
markers show with the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import structlog
from pydantic import ValidationError

from edge.core.principal import Principal
from shared.bus import Bus, Message, Subscription
from shared.errors import Unavailable
from shared.ids import UserId, WorkspaceId
from shared.records import Belonging, ReadMarker
from shared.subjects import user_subject

MEMBERSHIP = "membership"
READ = "read"
REVOKED = "revoked"

_log = structlog.get_logger()


class UserKey(NamedTuple):
    """A user is one within a workspace."""

    workspace: WorkspaceId
    user: UserId


class Listener(Protocol):
    """One session of the user. Calls are synchronous."""

    def on_membership(self, belonging: Belonging) -> None:
        """The user became a member of a channel, or is none any more."""

    def on_read(self, marker: ReadMarker) -> None:
        """The user has read, here or elsewhere."""

    def on_revoked(self) -> None:
        """The user's sessions have to end now (P9)."""


@dataclass(slots=True)
class _Presence:
    listeners: list[Listener]
    subscription: Subscription | None = None


class Users:
    """The users who have sessions on this edge."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._present: dict[UserKey, _Presence] = {}

    async def listen(self, principal: Principal, listener: Listener) -> None:
        """From now on `listener` hears what concerns the user."""
        key = UserKey(principal.workspace, principal.user)
        found = self._present.get(key)
        if found is not None:
            found.listeners.append(listener)
            return
        present = self._present[key] = _Presence([listener])
        subject = user_subject(key.workspace, key.user, "*")
        subscription = await self._bus.subscribe(subject, partial(_tell, present))
        if self._present.get(key) is present:
            present.subscription = subscription
        else:  # everybody left meanwhile
            await subscription.unsubscribe()

    async def unlisten(self, principal: Principal, listener: Listener) -> None:
        """The session ends. Harmless if it never listened."""
        key = UserKey(principal.workspace, principal.user)
        present = self._present.get(key)
        if present is None or listener not in present.listeners:
            return
        present.listeners.remove(listener)
        if not present.listeners:
            del self._present[key]
            if present.subscription is not None:
                await present.subscription.unsubscribe()

    async def tell_membership(self, workspace: WorkspaceId, user: UserId, belonging: Belonging) -> None:
        """A hint ahead of the sequencer's own word; losing it costs only time."""
        await self._tell(user_subject(workspace, user, MEMBERSHIP), belonging.model_dump_json())

    async def tell_read(self, workspace: WorkspaceId, user: UserId, marker: ReadMarker) -> None:
        """Tell all sessions of the user how far they have read (P15)."""
        await self._tell(user_subject(workspace, user, READ), marker.model_dump_json())

    async def _tell(self, subject: str, body: str) -> None:
        try:
            await self._bus.publish(subject, body.encode())
        except Unavailable as error:
            _log.warning("user.untold", error=error.message)


def _tell(present: _Presence, message: Message) -> None:
    what = message.subject.rpartition(".")[2]
    try:
        for listener in tuple(present.listeners):
            if what == MEMBERSHIP:
                listener.on_membership(Belonging.model_validate_json(message.body))
            elif what == READ:
                listener.on_read(ReadMarker.model_validate_json(message.body))
            elif what == REVOKED:
                listener.on_revoked()
    except ValidationError:
        _log.warning("user.message_unreadable", what=what)
