"""The whole system over a log that is replaced by an older copy: what was lost is named, and only that."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from infra.cli.access import socket_url
from infra.proof.check import Report, check
from shared.archive_files import epochs_set_aside
from shared.bus import Bus
from shared.client import Client
from shared.events import decode
from shared.ids import ChannelId, ChannelKey, Partition, WorkspaceId, workspace_id
from shared.settings import CommonSettings
from shared.subjects import channel_subject, partition_of
from tests.support.peer import WORKSPACE, token
from tests.support.stack import PARTITIONS, Stack, running_stack
from tests.support.waiting import eventually


async def checked(stack: Stack, bus: Bus) -> Report:
    return await check(
        bus, stack.folder / "archive", int(PARTITIONS), workspace=workspace_id(WORKSPACE), wait_s=30
    )


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_verify_names_what_was_lost(tmp_path: Path) -> None:
    """Channels and seqs that only the old epoch's archive holds; what is written afterwards is clean."""
    kept, gone = _channels_of_partition_0(2)
    settings = CommonSettings(partitions=int(PARTITIONS))
    async with running_stack(tmp_path) as stack:
        settings = settings.model_copy(update={"nats_url": stack.nats.url})
        async with (
            Bus.connect(settings, "verify") as bus,
            Client(socket_url(stack.url), token("ann")) as ann,
        ):
            await ann.create_channel("public", "kept", channel=kept)
            copy = await asyncio.to_thread(stack.nats.copy_stream, "LOG_0")
            await ann.create_channel("public", "gone", channel=gone)
            for number in range(4):
                await ann.send(kept, f"lost {number}")
            await eventually(lambda: bus.connected)
            creation, *_ = await _ids(bus, gone)
            _, *said = await _ids(bus, kept)
            assert (await checked(stack, bus)).clean
            await asyncio.to_thread(stack.nats.restore_stream, "LOG_0", copy)
            await eventually(lambda: bool(epochs_set_aside(tmp_path / "archive")), within_s=60)
            await ann.send(kept, "again")
            await eventually(lambda: bus.connected)
            report = await checked(stack, bus)
            (epoch,) = (directory.name for directory in epochs_set_aside(tmp_path / "archive"))
            lost = f"lost with epoch {epoch}: seqs"
            assert report.named == sorted(
                [
                    f"{WORKSPACE}/{gone} #1: 1 event {lost} 1; ids {creation}",
                    f"{WORKSPACE}/{kept} #2: 4 events {lost} 2-5; ids {', '.join(said)}",
                ]
            )


async def _ids(bus: Bus, channel: ChannelId) -> list[str]:
    """The ids of a channel's events in the log."""
    subject = channel_subject(Partition(0), ChannelKey(WorkspaceId(WORKSPACE), channel))
    return [decode(stored.body).id async for batch in bus.scan("LOG_0", subject) for stored in batch]


def _channels_of_partition_0(count: int) -> list[ChannelId]:
    names = (ChannelId(f"ch{number}") for number in range(100))
    found = [n for n in names if partition_of(ChannelKey(WorkspaceId(WORKSPACE), n), 2) == Partition(0)]
    return found[:count]
