"""Who is in which channel: thousands of users, each in a few channels of a hundred members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.core.frames import MEMBERS_OF_CREATION_MAX
from tests.bench.load_client import LoadClient

OWNER = "owner"
"""Created all channels, and so is in all of them too."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A channel every `members / channels_of_client` users, from there on; so nobody is in more than another.

    That holds if `clients * channels_of_client` is a multiple of `members`.
    """

    clients: int = 5000
    channels_of_client: int = 8
    members: int = 100

    @property
    def channels(self) -> int:
        """How many there are."""
        return self.clients * self.channels_of_client // self.members

    def user(self, number: int) -> str:
        """The name of a client's user."""
        return f"s{number:05d}"

    def channel(self, number: int) -> str:
        """The id of a channel; numbers go round."""
        return f"crowd-{number % self.channels:04d}"

    def members_of(self, number: int) -> list[str]:
        """The users whose turn it is."""
        first = number * self.members // self.channels_of_client
        return [self.user((first + index) % self.clients) for index in range(self.members)]

    async def create(self, owner: LoadClient) -> None:
        """All channels with their members."""
        for number in range(self.channels):
            await create_channel(owner, self.channel(number), self.members_of(number))


async def create_channel(owner: LoadClient, channel: str, members: Sequence[str]) -> None:
    """A public channel with these members: as many as a creation may name, the others are invited."""
    first, rest = members[:MEMBERS_OF_CREATION_MAX], members[MEMBERS_OF_CREATION_MAX:]
    await owner.ask(
        {
            "type": "create_channel",
            "kind": "public",
            "channel": channel,
            "name": channel,
            "members": list(first),
        }
    )
    for user in rest:
        await owner.ask({"type": "invite", "channel": channel, "user": user})
