"""Reads the three sources of `parley verify`: the logs, the archive, the checkpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from infra.proof.ledger import Difference, Ledger, differs_from, enter_archive, enter_log, lost
from shared.archive_files import epochs_set_aside, pin, scan
from shared.archive_rows import body_of, recorded_of
from shared.archive_store import Archive
from shared.bus import Bus, BusError
from shared.errors import Unavailable
from shared.ids import ChannelKey, Epoch, Partition, Seq, StreamSeq, channel_id, workspace_id
from shared.log_epochs import judge
from shared.puller import Follower
from shared.records import Checkpoint, Position
from shared.retry import Deadline
from shared.subjects import (
    CHECKPOINTS,
    kv_subject,
    log_stream,
    parse_channel_subject,
    partition_of,
    position_key,
)

_POLL_S = 0.25
_FIRST = StreamSeq(1)
_ANY: Mapping[Partition, Epoch] = MappingProxyType({})

Heads = dict[Partition, StreamSeq]
Epochs = dict[Partition, Epoch]


async def read_epochs(bus: Bus, partitions: int, deadline: Deadline) -> tuple[Epochs, list[Partition]]:
    """The epoch of every log, and which logs have not got a new one though they were replaced."""
    epochs: Epochs = {}
    refuted: list[Partition] = []
    for partition in map(Partition, range(partitions)):
        verdict = await judge(bus, partition)
        while not verdict.is_held and not deadline.passed:
            await asyncio.sleep(_POLL_S)
            verdict = await judge(bus, partition)
        epochs[partition] = verdict.epoch
        if not verdict.is_held:
            refuted.append(partition)
    return epochs, refuted


async def read_heads(bus: Bus, partitions: int) -> Heads:
    """The last stream sequence of every partition's log now."""
    heads: Heads = {}
    for number in range(partitions):
        info = await bus.api(f"STREAM.INFO.{log_stream(Partition(number))}", {})
        state = info["state"]
        assert isinstance(state, dict)
        heads[Partition(number)] = StreamSeq(int(state["last_seq"]))
    return heads


async def wait_for_archive(
    archive: Archive, heads: Heads, deadline: Deadline, epochs: Mapping[Partition, Epoch] = _ANY
) -> Heads:
    """Wait until the archive holds every log up to its head; returns those that it does not in time.

    `epochs`: in which epoch it has to hold them, where that matters.
    """
    while behind := _archive_behind(archive, heads, epochs):
        if deadline.passed:
            return behind
        await asyncio.sleep(_POLL_S)
    return {}


async def wait_for_checkpoints(bus: Bus, heads: Heads, deadline: Deadline) -> Heads:
    """Wait until the sequencer has written checkpoints up to every head; returns where it has not."""
    while behind := await _checkpoints_behind(bus, heads):
        if deadline.passed:
            return behind
        await asyncio.sleep(_POLL_S)
    return {}


async def read_logs(bus: Bus, heads: Heads, archive: Archive) -> Ledger:
    """Every log from its first message to its head, numbered and folded.

    What was trimmed from the front of a log is taken from the archive, and numbered and folded like the rest.
    """
    ledger: Ledger = {}
    firsts = {partition: await bus.first_seq(log_stream(partition)) for partition in heads}
    if any(first > _FIRST for first in firsts.values()):
        await asyncio.to_thread(_enter_trimmed, archive, firsts, ledger)
    for partition, head in heads.items():
        await _read_log(bus, partition, max(firsts[partition], _FIRST), head, ledger)
    return ledger


def _enter_trimmed(archive: Archive, firsts: Heads, ledger: Ledger) -> None:
    for row in scan(archive):
        key = ChannelKey(workspace_id(row.workspace), channel_id(row.channel))
        if row.stream_seq < firsts[partition_of(key, len(firsts))]:
            enter_log(ledger, key, StreamSeq(row.stream_seq), row.ts_us, body_of(row))


async def _read_log(
    bus: Bus, partition: Partition, first: StreamSeq, head: StreamSeq, ledger: Ledger
) -> None:
    if head < first:
        return
    async with Follower(bus, log_stream(partition), first, batch_max=2000) as follower:
        async for batch in follower:
            for stored in batch:
                if stored.stream_seq > head:
                    return
                _, key = parse_channel_subject(stored.subject)
                enter_log(ledger, key, stored.stream_seq, stored.at_us, stored.body)
            if follower.position >= head and batch[-1].stream_seq >= head:
                return


def read_archive(archive: Archive, heads: Mapping[ChannelKey, StreamSeq]) -> tuple[Ledger, list[Difference]]:
    """Every row of the archive up to the head of its log, and what is wrong with the rows' numbers."""
    ledger: Ledger = {}
    wrong: list[Difference] = []
    for row in scan(archive):
        key = ChannelKey(workspace_id(row.workspace), channel_id(row.channel))
        if row.stream_seq > heads[key]:
            continue
        difference = enter_archive(ledger, recorded_of(row), body_of(row))
        if difference is not None:
            wrong.append(difference)
    return ledger, wrong


def read_losses(archive: Archive, log: Ledger) -> list[Difference]:
    """What the archives of epochs that are over hold and the log does not, under any number."""
    losses: list[Difference] = []
    for aside in epochs_set_aside(archive):
        ledger: Ledger = {}
        for row in scan(aside):
            enter_archive(ledger, recorded_of(row), body_of(row))
        for key, first in differs_from(log, ledger).items():
            rows = scan(archive, workspace=key.workspace, channel=key.channel)
            known = {(row.author, row.id) for row in rows if row.id}
            gone = [
                (Seq(row.seq), row.id or "")
                for row in scan(aside, workspace=key.workspace, channel=key.channel)
                if row.seq >= first and (row.author, row.id) not in known
            ]
            if gone:
                losses.append(lost(key, Epoch(aside.name), gone))
    return losses


async def read_checkpoints(bus: Bus, epochs: Epochs) -> dict[ChannelKey, Checkpoint]:
    """Every channel's checkpoint, in the present epoch of its log."""
    found: dict[ChannelKey, Checkpoint] = {}
    prefix = kv_subject(CHECKPOINTS, "")
    async for batch in bus.scan(f"KV_{CHECKPOINTS}", f"{prefix}>"):
        for stored in batch:
            parts = stored.subject.removeprefix(prefix).split(".")
            if len(parts) == 3:
                key = ChannelKey(workspace_id(parts[1]), channel_id(parts[2]))
                checkpoint = Checkpoint.model_validate_json(stored.body)
                if checkpoint.counts_in(epochs[Partition(int(parts[0]))]):
                    found[key] = checkpoint
    return found


def _archive_behind(archive: Archive, heads: Heads, epochs: Mapping[Partition, Epoch]) -> Heads:
    try:
        reached = {
            manifest.partition: manifest.hi
            for manifest in pin(archive).manifests
            if manifest.epoch == epochs.get(manifest.partition, manifest.epoch)
        }
    except Unavailable:
        reached = {}
    zero = StreamSeq(0)
    return {p: reached.get(p, zero) for p, head in heads.items() if reached.get(p, zero) < head}


async def _checkpoints_behind(bus: Bus, heads: Heads) -> Heads:
    subjects = {kv_subject(CHECKPOINTS, position_key(partition)): partition for partition in heads}
    try:
        values = await bus.direct_last(f"KV_{CHECKPOINTS}", list(subjects))
    except (Unavailable, BusError):  # deleted buckets come back with the sequencer
        values = {}
    reached = dict.fromkeys(heads, StreamSeq(0))
    for subject, stored in values.items():
        reached[subjects[subject]] = Position.model_validate_json(stored.body).stream_seq
    return {p: reached[p] for p, head in heads.items() if reached[p] < head}
