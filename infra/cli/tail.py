"""`parley tail`: events as they come."""

from __future__ import annotations

import asyncio
from typing import Annotated

import orjson
from cyclopts import Parameter
from rich.console import Console

from infra.cli.access import ACCESS_DEFAULT, Access, opened
from infra.cli.lines import line
from infra.cli.options import FROM_0, FROM_1
from shared.client import ChannelEvent, Client, Gap, Offline, Online, Reset
from shared.ids import Seq


def tail(
    *channels: str,
    access: Access = ACCESS_DEFAULT,
    since: Annotated[
        int | None, Parameter(validator=FROM_0, help="Begin after this number; 0: from the first event.")
    ] = None,
    limit: Annotated[int | None, Parameter(validator=FROM_1, help="Stop after so many events.")] = None,
    json: Annotated[bool, Parameter(help="One JSON object a line, as the server sent it.")] = False,
) -> None:
    """Print what happens in CHANNELS, or in all of the user's channels, until Ctrl-C."""
    asyncio.run(_tail(frozenset(channels), access, since=since, limit=limit, json=json))


async def _tail(
    channels: frozenset[str], access: Access, *, since: int | None, limit: int | None, json: bool
) -> None:
    console = Console(soft_wrap=True, highlight=False)

    def start(head: Seq) -> Seq:
        return head if since is None else Seq(since)

    shown = 0
    following = Client(access.sockets(), access.bearer(), start=start, name="parley-tail")
    async with opened(following, access) as client:
        async for update in client.events():
            if isinstance(update, ChannelEvent):
                if channels and update.channel not in channels:
                    continue
                if json:
                    print(orjson.dumps(update.frame).decode(), flush=True)
                else:
                    console.print(line(update.frame))
                shown += 1
                if shown == limit:
                    return
            elif isinstance(update, Gap | Reset | Online | Offline) and not json:
                console.print(f"[dim]{update}[/]")
