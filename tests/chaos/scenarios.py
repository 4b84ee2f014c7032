"""Directed faults: each is the shortest story that one family of bugs does not survive.

A scenario runs the services of any tree and returns what is wrong. On a sound tree that is nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from shared.archive_files import newest_manifest
from shared.archive_manifest import partition_dir
from shared.bus import Bus
from shared.ids import ChannelId, ChannelKey, WorkspaceId, new_command_id
from shared.subjects import live_subject, log_stream, partition_of
from tests.bench.system import WORKSPACE
from tests.chaos.stage import PATIENCE_S, Stage, stage
from tests.chaos.thief import Thief
from tests.support.waiting import eventually

Scenario = Callable[[Path, int], Awaitable[list[str]]]

SILENCE_S = 1.5
WINDOW_S = 1.0
KILLS = 5


async def server_dies_mute(tree: Path, seed: int) -> list[str]:
    """The server stops answering, people go on talking, then it is killed, and the edge with it.

    What they sent stood in buffers that are gone: it was stored nowhere, so nobody may have been told so.
    """
    channels = [f"talk-{number}" for number in range(8)]
    async with stage(tree, seed) as it:
        await it.channels(channels, ["reader", "speaker"])
        await it.reader("reader", it.edge, channels)
        speaker = await it.client("speaker", it.edge)
        for channel in channels:
            await it.say(speaker, channel, "before")
        server, edge = await it.freeze("nats-1"), it.system.pid("edge-1")
        said = [speaker.post("send", channel, text="into the silence") for channel in channels]
        for future in said:
            future.add_done_callback(
                lambda done: done.exception() or it.record.note("speaker", done.result())
            )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SILENCE_S):
                await asyncio.wait(said)
        for pid in (edge, server):
            os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait(said)
            for channel in channels:
                await it.say(speaker, channel, "after")
        return await it.verdict()


async def one_republish_is_lost(tree: Path, seed: int) -> list[str]:
    """Now and then an edge misses one message of a channel that goes on."""
    async with stage(tree, seed) as it, Thief(it.system.run.nats_url) as thief:
        await it.channels(["talk"], ["reader", "speaker"])
        apart = await it.edge_through(thief.url)
        await it.reader("reader", apart, ["talk"])
        await it.client("reader", apart)
        speaker = await it.client("speaker", it.edge)
        lost = {round_ * 4 + it.rng.randrange(3) for round_ in range(5)}
        thief.wants = _chosen("talk", it, lost)
        for number in range(20):
            await it.say(speaker, "talk", f"number {number}")
        await eventually(lambda: len(thief.stolen) == len(lost), within_s=PATIENCE_S)
        return await it.verdict()


async def the_last_word_is_lost(tree: Path, seed: int) -> list[str]:
    """An edge misses the last message of channels in which nothing is said afterwards."""
    channels = [f"quiet-{number}" for number in range(6)]
    async with stage(tree, seed) as it, Thief(it.system.run.nats_url) as thief:
        await it.channels(channels, ["reader", "speaker"])
        apart = await it.edge_through(thief.url)
        await it.reader("reader", apart, channels)
        await it.client("reader", apart)
        speaker = await it.client("speaker", it.edge)
        for channel in channels:
            await it.say(speaker, channel, "first")
        deaf = set(it.rng.sample(channels, 3))
        subjects = {_live(it, channel) for channel in deaf}
        thief.wants = lambda subject: subject in subjects
        for channel in channels:
            await it.say(speaker, channel, "said once")
        await eventually(lambda: len(thief.stolen) == len(deaf), within_s=PATIENCE_S)
        return await it.verdict()


async def archiver_is_killed_in_its_commits(tree: Path, seed: int) -> list[str]:
    """Each time a manifest names a new segment, the archiver is killed a moment later."""
    env = {"PARLEY_FLUSH_EVENTS": "20", "PARLEY_FLUSH_INTERVAL_S": "0.3"}
    async with stage(tree, seed, env=env) as it:
        await it.channels(["talk"], ["reader", "speaker"])
        await it.reader("reader", it.edge, ["talk"])
        speaker = await it.client("speaker", it.edge)
        over = asyncio.Event()

        async def talk() -> None:
            while not over.is_set():
                await it.say(speaker, "talk", f"{it.rng.random()}")

        talking = asyncio.create_task(talk())
        try:
            for _ in range(KILLS):
                missing = await _kill_behind_a_manifest(it)
                if missing:
                    return [f"a manifest names {name}, which is not there" for name in missing]
        finally:
            over.set()
            await talking
        return await it.verdict()


async def _kill_behind_a_manifest(it: Stage) -> list[str]:
    """What the archiver leaves: segments that its newest manifest names, and that do not exist."""
    directory = Path(it.system.directory.archive) / partition_dir(_partition("talk", it))
    was = _archived(directory)
    await eventually(lambda: _archived(directory) > was, within_s=PATIENCE_S, every_s=0.001)
    await it.kill("archiver")
    manifest = newest_manifest(directory)
    assert manifest is not None
    paths = [segment.path for segment in manifest.segments]
    return [path for path in paths if not (directory / "data" / path).exists()]


def _archived(directory: Path) -> int:
    manifest = newest_manifest(directory)
    return manifest.hi if manifest else 0


async def old_ids_come_again(tree: Path, seed: int) -> list[str]:
    """Ids from hours ago are stored, and sent once more when JetStream has forgotten them."""
    async with stage(tree, seed, edges=2) as it:
        await it.channels(["talk"], ["reader", "speaker"])
        await _shorten_window(it)
        await it.reader("reader", it.edge, ["talk"])
        now_ms = time.time_ns() // 1_000_000
        ids = [new_command_id(now_ms - it.rng.randrange(120_000, 86_400_000)) for _ in range(6)]
        for edge in it.system.edges:
            speaker = await it.client("speaker", edge)
            for id_ in ids:
                await it.say(speaker, "talk", "from long ago", id_=id_)
            forgotten_s = time.monotonic() + 2 * WINDOW_S  # the server says nothing when it forgets
            await eventually(lambda at_s=forgotten_s: time.monotonic() > at_s, within_s=PATIENCE_S)
        return await it.verdict()


async def _shorten_window(it: Stage) -> None:
    """Let JetStream forget message ids soon: what is older must not depend on its memory."""
    stream = log_stream(_partition("talk", it))
    async with Bus.connect(it.system.directory.operator_settings(), "chaos") as bus:
        info = await bus.api(f"STREAM.INFO.{stream}", {})
        config = info["config"]
        assert isinstance(config, dict)
        window = {"duplicate_window": int(WINDOW_S * 1e9)}
        await bus.api(f"STREAM.UPDATE.{stream}", config | window)


async def reader_was_away(tree: Path, seed: int) -> list[str]:
    """A reader's edge is killed, others go on talking, and the reader comes back with its cursors."""
    channels = [f"talk-{number}" for number in range(3)]
    async with stage(tree, seed, edges=2) as it:
        await it.channels(channels, ["reader", "speaker"])
        other = it.system.edges[1]
        reader = await it.reader("reader", other, channels)
        await it.client("reader", other)
        speaker = await it.client("speaker", it.edge)
        for _ in range(2):
            for channel in channels:
                await it.say(speaker, channel, "while it listens")
            sessions = reader.sessions
            dying = asyncio.create_task(it.kill("edge-2"))
            for channel in it.rng.choices(channels, k=12):
                await it.say(speaker, channel, "while it is away")
            await dying
            await eventually(lambda was=sessions: reader.sessions > was, within_s=PATIENCE_S)
        return await it.verdict()


# ---------------------------------------------------------------- names


def _key(channel: str) -> ChannelKey:
    return ChannelKey(WorkspaceId(WORKSPACE), ChannelId(channel))


def _partition(channel: str, it: Stage) -> int:
    return partition_of(_key(channel), it.system.run.partitions)


def _live(it: Stage, channel: str) -> str:
    return live_subject(partition_of(_key(channel), it.system.run.partitions), _key(channel))


def _chosen(channel: str, it: Stage, numbers: set[int]) -> Callable[[str], bool]:
    """Steal these of a channel's messages, counted from now on."""
    subject, count = _live(it, channel), iter(range(1_000_000))
    return lambda heard: heard == subject and next(count) in numbers
