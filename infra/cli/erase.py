"""`parley erase`: takes texts out of the whole system, for good."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from infra.cli.access import OPERATOR, Access, opened
from infra.cli.options import DATA_DEFAULT, WORKSPACE_DEFAULT, DataOption, WorkspaceOption, data_directory
from infra.erasure.orders import Order, channels_of, message
from infra.erasure.run import Done, carried_out, record
from shared.bus import Bus
from shared.client import Client
from shared.errors import BadRequest
from shared.ids import channel_id, user_id, workspace_id
from shared.retry import Deadline


def erase(
    *,
    messages: Annotated[
        list[str] | None,
        Parameter(name="--message", negative=(), help="CHANNEL/SEQ, with all its edits; repeatable."),
    ] = None,
    user: Annotated[str | None, Parameter(help="Everything that this user has said so far.")] = None,
    channels: Annotated[
        list[str] | None,
        Parameter(name="--channel", negative=(), help="Only in this channel; repeatable. Otherwise in all."),
    ] = None,
    wait: Annotated[bool, Parameter(help="Wait until the archive holds none of it.")] = True,
    timeout: Annotated[float, Parameter(help="Seconds to wait for the archive.")] = 600.0,
    token: Annotated[str | None, Parameter(env_var="PARLEY_TOKEN", help="With the scope `erase`.")] = None,
    url: Annotated[list[str] | None, Parameter(env_var="PARLEY_URL", negative=(), help="An edge.")] = None,
    workspace: WorkspaceOption = WORKSPACE_DEFAULT,
    data: DataOption = DATA_DEFAULT,
) -> None:
    """Erase messages, or what a user has said: the text and its edits go, numbers and authors stay.

    It is the operator's command, cannot be taken back, and may be repeated. `parley verify --erased` proves
    what it has done.
    """
    if (user is None) == (not messages):
        raise BadRequest("name --message CHANNEL/SEQ, or --user: one of them")
    if messages and channels:
        raise BadRequest("--channel goes with --user")
    named = [message(name) for name in dict.fromkeys(messages or ())]
    if user is not None:
        user = user_id(user)
        named += [Order(channel_id(name), user=user) for name in dict.fromkeys(channels or ())]
    access = Access(url=url, token=token, workspace=workspace_id(workspace), data=data)
    asyncio.run(_erase(access, named, user, data, wait=wait, timeout_s=timeout))


async def _erase(
    access: Access, orders: list[Order], user: str | None, data: Path, *, wait: bool, timeout_s: float
) -> None:
    console = Console()
    deadline = Deadline.after(timeout_s)
    workspace = workspace_id(access.workspace)
    directory = data_directory(data)
    if user is not None and not orders:
        settings = directory.operator_settings()
        async with Bus.connect(settings, "parley erase") as bus:
            found = await channels_of(
                bus, directory.archive, settings.partitions, workspace, user_id(user), wait_s=timeout_s
            )
        orders = [Order(channel, user=user_id(user)) for channel in found]
        if not orders:
            console.print(f"{user} has said nothing that is not erased", highlight=False)
            return

    def tell(one: Done) -> None:
        console.print(f"erased {one.order}: event #{one.seq}", highlight=False)

    operator = Client(
        access.sockets(), access.token or access.token_for(OPERATOR, ["erase"]), name="parley-erase"
    )
    async with opened(operator, access) as client:
        done = await record(client, orders, tell)
    if not wait:
        return
    settings = directory.operator_settings()
    with console.status("") as status:
        async with Bus.connect(settings, "parley erase") as bus:
            left_s = await carried_out(
                bus,
                directory.archive,
                settings.partitions,
                workspace,
                done,
                deadline,
                lambda what: status.update(f"{what} …"),
            )
    until = datetime.now(UTC) + timedelta(seconds=left_s)
    console.print("no file of the archive has the texts any more", highlight=False)
    console.print(
        f"the logs' own files may hold them until {until:%H:%M:%S} UTC, longer where people never pause"
        " (archiver/DESIGN.md, Erasure): `parley verify --erased` tells",
        highlight=False,
    )
