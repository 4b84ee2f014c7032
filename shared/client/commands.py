"""The commands that a client can give, one method each; `Client` supplies how they are sent."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from shared.client.updates import Ack
from shared.events import ChannelKind, Role
from shared.ids import CommandId

_NULL = orjson.Fragment(b"null")
"""As a field: None is left out."""


class Origin(NamedTuple):
    """Where an imported event comes from: its author and time there. Needs the scope `import`."""

    author: str
    at: str
    """RFC 3339."""


class Commands(abc.ABC):
    """Each command waits for its `Ack` and raises the server's error (a `ParleyError`).

    `id` repeats an earlier command under its id: nothing is recorded twice, and the ack says `duplicate`.
    """

    @abc.abstractmethod
    async def command(
        self,
        kind: str,
        channel: str | None,
        /,
        *,
        id: CommandId | None = None,  # noqa: A002  # the protocol's word
        origin: Origin | None = None,
        **fields: object,
    ) -> Ack:
        """Give any command of the protocol; fields that are None are left out."""

    async def send(
        self,
        channel: str,
        text: str,
        *,
        thread: int | None = None,
        id: CommandId | None = None,  # noqa: A002
        origin: Origin | None = None,
    ) -> Ack:
        """Post a message; `thread` is the seq of the message that it answers."""
        return await self.command("send", channel, id=id, origin=origin, text=text, thread=thread)

    async def edit(self, channel: str, ref: int, text: str) -> Ack:
        """Replace the text of an own message."""
        return await self.command("edit", channel, ref=ref, text=text)

    async def delete(self, channel: str, ref: int) -> Ack:
        """Delete an own message, or as an admin anybody's."""
        return await self.command("delete", channel, ref=ref)

    async def react(self, channel: str, ref: int, emoji: str) -> Ack:
        """React to a message."""
        return await self.command("react", channel, ref=ref, emoji=emoji)

    async def unreact(self, channel: str, ref: int, emoji: str) -> Ack:
        """Take a reaction back."""
        return await self.command("unreact", channel, ref=ref, emoji=emoji)

    async def pin(self, channel: str, ref: int) -> Ack:
        """Pin a message."""
        return await self.command("pin", channel, ref=ref)

    async def unpin(self, channel: str, ref: int) -> Ack:
        """Unpin a message."""
        return await self.command("unpin", channel, ref=ref)

    async def erase(
        self,
        channel: str,
        *,
        ref: int | None = None,
        user: str | None = None,
        id: CommandId | None = None,  # noqa: A002
    ) -> Ack:
        """Take the text of a message, or of all that a user has said so far, out for good.

        Exactly one of `ref` and `user`. Needs the scope `erase`, no membership.
        """
        return await self.command("erase", channel, id=id, ref=ref, user=user)

    async def join(self, channel: str) -> Ack:
        """Join a public channel."""
        return await self.command("join", channel)

    async def leave(self, channel: str) -> Ack:
        """Leave a channel."""
        return await self.command("leave", channel)

    async def invite(self, channel: str, user: str, *, role: Role = "member") -> Ack:
        """Make a user a member at once."""
        return await self.command("invite", channel, user=user, role=role)

    async def kick(self, channel: str, user: str) -> Ack:
        """As an admin, remove a user."""
        return await self.command("kick", channel, user=user)

    async def set_role(self, channel: str, user: str, role: Role) -> Ack:
        """As an admin, give a member another role."""
        return await self.command("set_role", channel, user=user, role=role)

    async def update_channel(
        self,
        channel: str,
        *,
        name: str | None = None,
        topic: str | None = None,
        archived: bool | None = None,
    ) -> Ack:
        """Change exactly one of name, topic and archived."""
        return await self.command("update_channel", channel, name=name, topic=topic, archived=archived)

    async def set_retention(self, channel: str, days: int | None) -> Ack:
        """Let messages expire after so many whole days (UTC); None keeps them for ever.

        Needs an admin, or the scope `erase`: then no membership.
        """
        return await self.command("update_channel", channel, retention_days=_NULL if days is None else days)

    async def create_channel(
        self,
        kind: ChannelKind,
        name: str = "",
        *,
        channel: str | None = None,
        topic: str = "",
        members: Sequence[str] = (),
        id: CommandId | None = None,  # noqa: A002
        origin: Origin | None = None,
    ) -> Ack:
        """Create a channel; only a public one's id is chosen by its creator. The ack names the id."""
        return await self.command(
            "create_channel",
            channel,
            id=id,
            origin=origin,
            kind=kind,
            name=name,
            topic=topic,
            members=list(members),
        )
