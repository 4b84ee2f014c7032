"""Records erasures, and waits until the archive has carried them out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from infra.erasure.orders import Order
from infra.erasure.pinned import whole
from infra.proof import sources
from shared.archive_files import open_archive, pin
from shared.archive_store import Archive
from shared.bus import Bus
from shared.client import Client
from shared.errors import Unavailable
from shared.ids import ChannelKey, Partition, Seq, StreamSeq, WorkspaceId
from shared.retry import Deadline
from shared.subjects import log_stream, partition_of

_POLL_S = 0.25
TRIM_EVERY_S = 60.0
"""How often the archiver looks whether a log can be trimmed."""

Note = Callable[[str], None]


class Done(NamedTuple):
    """An erasure that is recorded: what was to be erased, and the number of the event."""

    order: Order
    seq: Seq


async def record(client: Client, orders: Sequence[Order], recorded: Callable[[Done], None]) -> list[Done]:
    """Give the commands one by one; raises what the server refuses, with all before it recorded."""
    done: list[Done] = []
    for order in orders:
        ack = await client.erase(order.channel, ref=order.ref, user=order.user)
        done.append(Done(order, ack.seq))
        recorded(done[-1])
    return done


async def carried_out(
    bus: Bus,
    archive: Archive,
    partitions: int,
    workspace: WorkspaceId,
    done: Sequence[Done],
    deadline: Deadline,
    note: Note,
) -> float:
    """Wait until no file of the archive has such a text; for how many seconds the logs' files may have it.

    Raises `Unavailable` if that is not so in time; then the archiver goes on all the same.
    """
    keys = {one: ChannelKey(workspace, one.order.channel) for one in done}
    concerned = {partition_of(key, partitions) for key in keys.values()}
    heads = await sources.read_heads(bus, partitions)
    note("waiting for the archive")
    wanted = {partition: heads[partition] for partition in concerned}
    if await sources.wait_for_archive(archive, wanted, deadline):
        raise Unavailable("recorded, but the archive has not come to the logs' ends in time")
    positions = await asyncio.to_thread(whole, lambda: _positions(archive, partitions, keys))
    note("waiting until the archive's files are written anew, and the old ones gone")
    while behind := await asyncio.to_thread(_behind, archive, positions):
        if deadline.passed:
            raise Unavailable(f"recorded, but not carried out in time in the partitions {sorted(behind)}")
        await asyncio.sleep(_POLL_S)
    windows = [(await bus.window(log_stream(partition))).duplicates_s for partition in concerned]
    return 2 * max(windows, default=0.0) + TRIM_EVERY_S


def _positions(archive: Archive, partitions: int, keys: dict[Done, ChannelKey]) -> dict[Partition, StreamSeq]:
    """The last of these events in each partition."""
    positions: dict[Partition, StreamSeq] = {}
    with open_archive(archive) as connection:
        for one, key in keys.items():
            row = connection.execute(_POSITION_SQL, [*key, one.seq]).fetchone()
            assert row is not None, "the archive holds the log up to behind this event"
            partition = partition_of(key, partitions)
            positions[partition] = max(positions.get(partition, StreamSeq(0)), StreamSeq(row[0]))
    return positions


_POSITION_SQL = "SELECT stream_seq FROM events WHERE workspace = ? AND channel = ? AND seq = ?"


def _behind(archive: Archive, positions: dict[Partition, StreamSeq]) -> set[Partition]:
    """Where erasures are not carried out, or what they replaced is still there."""
    done = {
        manifest.partition
        for manifest in pin(archive).manifests
        if manifest.erased >= positions.get(manifest.partition, StreamSeq(0))
        and not any(gone.erased for gone in manifest.retired)
    }
    return positions.keys() - done
