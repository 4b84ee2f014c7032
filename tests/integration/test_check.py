"""`verify` on a real system: clean when it is, and the planted difference by its name when it is not."""

from __future__ import annotations

import pytest

from infra.cli.access import socket_url
from infra.proof.check import Report, check
from infra.proof.sources import read_checkpoints, read_epochs
from shared.bus import Bus
from shared.client import Client, Verifier
from shared.ids import ChannelKey, channel_id, workspace_id
from shared.retry import Deadline
from shared.subjects import CHECKPOINTS, checkpoint_key, kv_subject, partition_of
from tests.support.peer import WORKSPACE, token
from tests.support.stack import PARTITIONS, Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def checked(stack: Stack, bus: Bus, *verifiers: Verifier, wait_s: float = 30.0) -> Report:
    return await check(
        bus,
        stack.folder / "archive",
        int(PARTITIONS),
        workspace=workspace_id(WORKSPACE),
        verifiers=verifiers,
        wait_s=wait_s,
    )


async def watched(stack: Stack, channel: str, messages: int) -> Verifier:
    """A channel with some messages, and the verifier of somebody who saw them."""
    verifier = Verifier("watcher")
    url = socket_url(stack.url)
    async with Client(url, token("watcher"), start="beginning", on_update=verifier.record) as client:
        await client.create_channel("public", "tea", channel=channel)
        for n in range(messages):
            await client.send(channel, str(n))
        await eventually(lambda: verifier.channels[channel].last == messages + 1)
    verifier.channels = {channel: verifier.channels[channel]}
    return verifier


async def test_running_system_is_clean(stack: Stack, log_bus: Bus) -> None:
    """Everything that was written is the same everywhere, right after it was written."""
    report = await checked(stack, log_bus, await watched(stack, "proof", 30))
    assert report.clean, report.named
    assert report.client_events == 31
    assert sum(line.log for line in report.lines) == sum(line.archive for line in report.lines) >= 31


async def test_client_that_saw_something_else_is_named(stack: Stack, log_bus: Bus) -> None:
    """A changed digest, and an event that was not seen."""
    verifier = await watched(stack, "proof-client", 3)
    verifier.channels["proof-client"].digests[1] ^= 1
    verifier.channels["proof-client"].digests.pop()
    report = await checked(stack, log_bus, verifier)
    assert report.named == [
        "client watcher: proof-client: stored but not seen by the client at seq 4 (expected 4)",
        "client watcher: proof-client: differs from what is stored at seq 2 (expected 2)",
    ]


async def test_wrong_checkpoint_is_named(stack: Stack, log_bus: Bus) -> None:
    """A checkpoint with another seq is found, with its channel."""
    await watched(stack, "proof-checkpoint", 3)
    assert (await checked(stack, log_bus)).clean
    key = ChannelKey(workspace_id(WORKSPACE), channel_id("proof-checkpoint"))
    epochs, _ = await read_epochs(log_bus, int(PARTITIONS), Deadline.after(30))
    right = (await read_checkpoints(log_bus, epochs))[key]
    subject = kv_subject(CHECKPOINTS, checkpoint_key(partition_of(key, int(PARTITIONS)), key))
    stored = await log_bus.last(f"KV_{CHECKPOINTS}", subject)
    assert stored is not None
    wrong = right.model_copy(update={"seq": right.seq + 1})
    ack = await log_bus.commit(subject, wrong.model_dump_json().encode(), expect_last=stored.stream_seq)
    try:
        report = await checked(stack, log_bus)
        assert report.named == [f"{WORKSPACE}/proof-checkpoint #5: the checkpoint's seq; the log's head is 4"]
    finally:
        await log_bus.commit(subject, right.model_dump_json().encode(), expect_last=ack.stream_seq)


async def test_archiver_that_is_away_is_waited_for_and_then_named(stack: Stack, log_bus: Bus) -> None:
    """Behind within the wait is no fault; behind after it is named, per partition."""
    stack.archiver.kill()
    try:
        await watched(stack, "proof-away", 3)
        report = await checked(stack, log_bus, wait_s=1.0)
        assert any("the archive has reached" in what for what in report.named)
    finally:
        await stack.archiver.start()
    assert (await checked(stack, log_bus)).clean
