"""Archives for tests: fill logs, run an archiver in this process, and say what the log itself holds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from archiver.app import Archiver
from archiver.core.hot import NOTHING_YET, Hot, key_of_subject
from archiver.settings import ArchiverSettings
from shared import events as e
from shared.archive_store import Archive, Reached
from shared.bus import Bus
from shared.channel import ChannelState, fold
from shared.clock import now_us
from shared.errors import Unavailable
from shared.events import Recorded
from shared.health import Health
from shared.ids import ChannelKey, Partition, Seq, StreamSeq, UserId, channel_id, new_command_id, workspace_id
from shared.records import ArchiveStatus
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import archive_subject, channel_subject, log_stream, partition_of
from tests.support.events import NOW_MS, made
from tests.support.waiting import eventually

WORKSPACE = workspace_id("acme")
ALICE = UserId("alice")


def key_of(channel: str) -> ChannelKey:
    """A channel of the tests' workspace."""
    return ChannelKey(WORKSPACE, channel_id(channel))


def created(author: UserId = ALICE) -> e.ChannelCreated:
    """The first event of a public channel."""
    return e.ChannelCreated(id=new_command_id(NOW_MS), author=author, channel_kind="public", name="tea")


def posted(text: str, author: UserId = ALICE, **fields: object) -> e.MessagePosted:
    """A message under a fresh id."""
    return made(e.MessagePosted, {"id": new_command_id(NOW_MS), "author": author, "text": text} | fields)


async def store(bus: Bus, key: ChannelKey, bodies: Iterable[bytes], partitions: int = 2) -> StreamSeq:
    """Put bodies into a channel's log as the edge would, without asking anybody; the last position."""
    subject = channel_subject(partition_of(key, partitions), key)
    last = StreamSeq(0)
    for body in bodies:
        last = (await bus.commit(subject, body, msg_id=new_command_id(NOW_MS))).stream_seq
    return last


@dataclass
class Logged:
    """What the logs hold, counted and folded from the first message on, per channel."""

    bodies: dict[ChannelKey, list[bytes]] = field(default_factory=dict)
    events: dict[ChannelKey, list[Recorded]] = field(default_factory=dict)
    total: int = 0


async def read_logs(bus: Bus, partitions: int = 2) -> Logged:
    """Read every log from its beginning."""
    logged = Logged()
    states: dict[ChannelKey, ChannelState | None] = {}
    for partition in range(partitions):
        async for batch in bus.scan(log_stream(Partition(partition)), f"channel.{partition}.>"):
            for stored in batch:
                key = key_of_subject(stored.subject)
                event = e.decode(stored.body)
                states[key], void = fold(states.get(key), event)
                events = logged.events.setdefault(key, [])
                seq = Seq(len(events) + 1)
                events.append(Recorded(key, seq, stored.stream_seq, stored.at_us, event, void))
                logged.bodies.setdefault(key, []).append(stored.body)
                logged.total += 1
    return logged


def hot_of(hi: int, logs: Mapping[ChannelKey, list[bytes]]) -> Hot:
    """Hot events of channels that nothing is archived of, channel after channel."""
    hot = Hot(StreamSeq(hi))
    for key, bodies in logs.items():
        hot.load(key, NOTHING_YET)
        for body in bodies:
            hot.add(key, StreamSeq(hot.applied + 1), 1_790_000_000_000_000 + hot.applied, body)
    return hot


def archiver_settings(settings: CommonSettings, archive: Archive, **fields: object) -> ArchiverSettings:
    """The tests' settings with an archive there."""
    wanted = {**settings.model_dump(), "archive": str(archive), "applied_wait_s": 5.0, **fields}
    return ArchiverSettings.model_validate(wanted)


@dataclass
class Running:
    """An archiver that runs in this process."""

    archiver: Archiver
    task: asyncio.Task[None]
    health: Health


def failing_at(point: str, times: int) -> Reached:
    """Something is away at the first so many passes of a point."""
    left = iter(range(times))

    def reached(at: str) -> None:
        if at == point and next(left, None) is not None:
            raise Unavailable("the log is away")

    return reached


@contextlib.asynccontextmanager
async def running(
    bus: Bus,
    settings: ArchiverSettings,
    reached: Reached = lambda _: None,
    clock: Callable[[], int] = now_us,
) -> AsyncIterator[Running]:
    """An archiver until the block ends; then it has committed everything."""
    layout = await ensure_streams(bus, settings)
    health = Health()
    archiver = Archiver(bus, layout, settings, health, reached, clock)
    task = asyncio.create_task(archiver.run())
    try:
        await _ready(health, task)
        yield Running(archiver, task, health)
        if not task.done():
            await archiver.stop()
            await task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
            await task


async def status(bus: Bus, partition: int) -> ArchiveStatus | None:
    """How far a partition is; None while nobody answers."""
    with contextlib.suppress(Unavailable):
        raw = await bus.request(archive_subject(Partition(partition), "status"), b"", timeout_s=2)
        return ArchiveStatus.model_validate_json(raw)
    return None


async def taken(bus: Bus, partitions: int = 2) -> None:
    """Wait until the archiver knows everything that is in the logs now."""
    total = (await read_logs(bus, partitions)).total

    async def known() -> bool:
        found = [await status(bus, partition) for partition in range(partitions)]
        return sum(partition.applied for partition in found if partition) == total

    await eventually(known)


async def committed(bus: Bus, partitions: int = 2) -> None:
    """Wait until everything that is in the logs now is in Parquet."""
    total = (await read_logs(bus, partitions)).total

    async def all_of_it() -> bool:
        found = [await status(bus, partition) for partition in range(partitions)]
        return sum(partition.watermark for partition in found if partition) >= total

    await eventually(all_of_it, within_s=60)


async def _ready(health: Health, task: asyncio.Task[None]) -> None:
    await eventually(lambda: health.ready or task.done(), every_s=0.01)
    if task.done():
        await task
