"""`parley retention`: how long a channel keeps its messages."""

from __future__ import annotations

import asyncio
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from infra.cli.access import OPERATOR, Access, opened
from infra.cli.options import DATA_DEFAULT, WORKSPACE_DEFAULT, DataOption, WorkspaceOption
from shared.client import Client
from shared.errors import BadRequest
from shared.events import RETENTION_DAYS_MAX
from shared.ids import ChannelId, channel_id, workspace_id


def retention(
    channel: Annotated[str, Parameter(help="Public, private or direct; archived ones, too.")],
    *,
    days: Annotated[int | None, Parameter(help="Whole days (UTC) after which messages expire.")] = None,
    for_ever: Annotated[bool, Parameter(negative=(), help="Let no more messages expire.")] = False,
    token: Annotated[str | None, Parameter(env_var="PARLEY_TOKEN", help="With the scope `erase`.")] = None,
    url: Annotated[list[str] | None, Parameter(env_var="PARLEY_URL", negative=(), help="An edge.")] = None,
    workspace: WorkspaceOption = WORKSPACE_DEFAULT,
    data: DataOption = DATA_DEFAULT,
) -> None:
    """Set for how long a channel keeps what is said in it.

    What is older loses its text for good, as with `parley erase`, within an hour; numbers and authors stay.
    A longer time later brings nothing back.
    """
    if (days is None) != for_ever:
        raise BadRequest("name --days N, or --for-ever: one of them")
    if days is not None and not 1 <= days <= RETENTION_DAYS_MAX:
        raise BadRequest(f"--days {days}: 1 to {RETENTION_DAYS_MAX} are possible")
    access = Access(url=url, token=token, workspace=workspace_id(workspace), data=data)
    asyncio.run(_set(access, channel_id(channel), days))


async def _set(access: Access, channel: ChannelId, days: int | None) -> None:
    operator = Client(
        access.sockets(), access.token or access.token_for(OPERATOR, ["erase"]), name="parley-retention"
    )
    async with opened(operator, access) as client:
        ack = await client.set_retention(channel, days)
    kept = "for ever" if days is None else f"for {days} days" if days != 1 else "for a day"
    Console().print(f"{channel} keeps messages {kept}: event #{ack.seq}", highlight=False)
