"""`parley send`: one message from the command line."""

from __future__ import annotations

import asyncio
from typing import Annotated

from cyclopts import Parameter

from infra.cli.access import ACCESS_DEFAULT, Access, opened
from infra.cli.options import FROM_1
from shared.client import Client


def send(
    channel: str,
    text: str,
    /,
    *,
    access: Access = ACCESS_DEFAULT,
    thread: Annotated[
        int | None, Parameter(validator=FROM_1, help="Number of the message that this one answers.")
    ] = None,
    join: Annotated[bool, Parameter(help="Join the public channel first.")] = False,
    create: Annotated[bool, Parameter(help="Create the public channel first.")] = False,
) -> None:
    """Send TEXT to CHANNEL and print its number once it is durable."""
    asyncio.run(_send(channel, text, access, thread=thread, join=join, create=create))


async def _send(
    channel: str, text: str, access: Access, *, thread: int | None, join: bool, create: bool
) -> None:
    async with opened(Client(access.sockets(), access.bearer(), name="parley-send"), access) as client:
        if create:
            await client.create_channel("public", channel, channel=channel)
        elif join and channel not in client.channels:
            await client.join(channel)
        ack = await client.send(channel, text, thread=thread)
    print(f"{ack.channel} #{ack.seq} {ack.ts}")
