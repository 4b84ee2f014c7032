"""What an operator wants erased, as commands: messages by name, or a user wherever they have spoken."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from infra.erasure.pinned import whole
from infra.export.selection import FIELDS_SQL
from infra.proof import sources
from shared.archive_files import open_archive
from shared.archive_store import Archive
from shared.bus import Bus
from shared.errors import BadRequest, InvalidId, Unavailable
from shared.ids import SEQ_MAX, ChannelId, Seq, UserId, WorkspaceId, channel_id
from shared.retry import Deadline


class Order(NamedTuple):
    """One command: a message of a channel, or all that a user has said there."""

    channel: ChannelId
    ref: Seq | None = None
    user: UserId | None = None

    def __str__(self) -> str:
        return f"{self.channel}/{self.ref}" if self.ref is not None else f"{self.user} in {self.channel}"


def message(name: str) -> Order:
    """`CHANNEL/SEQ`. Raises `BadRequest`."""
    channel, _, seq = name.rpartition("/")
    if not (seq.isascii() and seq.isdecimal() and 1 <= int(seq) <= SEQ_MAX):
        raise BadRequest(f"--message {name}: name a message as CHANNEL/SEQ, tea/7 for example")
    try:
        return Order(channel_id(channel), ref=Seq(int(seq)))
    except InvalidId as error:
        raise BadRequest(f"--message {name}: {error.message}") from error


async def channels_of(
    bus: Bus, archive: Archive, partitions: int, workspace: WorkspaceId, user: UserId, *, wait_s: float
) -> list[ChannelId]:
    """Where a user has said something that is not erased yet, of all that was acknowledged before the call.

    Raises `Unavailable` if the archive does not come to the end of the logs within `wait_s`.
    """
    deadline = Deadline.after(wait_s)
    heads = await sources.read_heads(bus, partitions)
    for partition, hi in (await sources.wait_for_archive(archive, heads, deadline)).items():
        raise Unavailable(
            f"partition {partition}: the archive has reached {hi} of {heads[partition]} in time: does the"
            " archiver run? --timeout gives it longer"
        )

    def read() -> list[ChannelId]:
        with open_archive(archive) as connection:
            rows = connection.execute(_SAID_SQL, [workspace, user]).fetchall()
        return [ChannelId(channel) for (channel,) in rows]

    return await asyncio.to_thread(whole, read)


_SAID_SQL = f"""
SELECT DISTINCT channel FROM events
WHERE workspace = ? AND author = ? AND kind IN ('message.posted', 'message.edited')
    AND json_extract({FIELDS_SQL}, '$.erased') IS NULL
ORDER BY channel
"""  # noqa: S608
