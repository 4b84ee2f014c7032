"""Where the channels' logs end, and that the archive has come so far."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from infra.export.selection import Selection
from infra.proof import sources
from shared.archive_store import Archive
from shared.bus import Bus
from shared.errors import Unavailable
from shared.ids import ChannelId, ChannelKey, Partition, Seq
from shared.records import Checkpoint
from shared.retry import Deadline
from shared.subjects import CHECKPOINTS, checkpoint_key, kv_subject, partition_of

Note = Callable[[str], None]


async def settled_heads(
    bus: Bus, archive: Archive, partitions: int, selection: Selection, *, wait_s: float, note: Note
) -> dict[ChannelId, Seq]:
    """The head of each selected channel, once the archive holds everything that the logs held at the start.

    Raises `Unavailable` if it does not within `wait_s`, or if a log has no epoch yet.
    """
    deadline = Deadline.after(wait_s)
    note("reading the logs' heads")
    epochs, refuted = await sources.read_epochs(bus, partitions, deadline)
    if refuted:
        raise Unavailable(f"partition {refuted[0]}: the log was replaced, and has no new epoch yet")
    heads = await sources.read_heads(bus, partitions)
    note("waiting for the archive")
    for partition, hi in (await sources.wait_for_archive(archive, heads, deadline, epochs)).items():
        raise Unavailable(
            f"partition {partition}: the archive has reached {hi} of {heads[partition]} in time: does the"
            " archiver run? --wait gives it longer"
        )
    note("waiting for the checkpoints")
    for partition in await sources.wait_for_checkpoints(bus, heads, deadline):
        raise Unavailable(f"partition {partition}: the sequencer has not come to the log's head in time")
    found: dict[ChannelId, Seq] = {}
    for subject in _subjects(selection, partitions):
        async for batch in bus.scan(f"KV_{CHECKPOINTS}", subject):
            for stored in batch:
                checkpoint = Checkpoint.model_validate(orjson.loads(stored.body) | {"state": None})
                partition_and_key = stored.subject.removeprefix(kv_subject(CHECKPOINTS, "")).split(".")
                if checkpoint.counts_in(epochs[Partition(int(partition_and_key[0]))]):
                    found[ChannelId(partition_and_key[2])] = checkpoint.seq
    return found


def _subjects(selection: Selection, partitions: int) -> list[str]:
    if selection.user is not None:
        return []
    if selection.channels is None:
        return [kv_subject(CHECKPOINTS, f"*.{selection.workspace}.*")]
    keys = [ChannelKey(selection.workspace, channel) for channel in selection.channels]
    return [kv_subject(CHECKPOINTS, checkpoint_key(partition_of(key, partitions), key)) for key in keys]
