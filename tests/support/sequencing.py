"""A sequencer in the test's own process, and what must be in its buckets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from sequencer.app import Sequencer
from sequencer.settings import SequencerSettings
from shared import events as e
from shared.bus import Bus, PubAck
from shared.channel import ChannelState, fold
from shared.errors import InvalidId, Unavailable
from shared.health import Health
from shared.ids import ChannelKey, Partition, StreamSeq
from shared.records import Checkpoint, Position
from shared.settings import CommonSettings
from shared.subjects import (
    CHECKPOINTS,
    bucket_stream,
    channel_subject,
    kv_subject,
    log_stream,
    message_id,
    parse_channel_subject,
    partition_of,
    position_key,
)

PARTITIONS = 2
"""As in the settings of the shared fixtures."""

Numbers = Mapping[ChannelKey, tuple[int, int, ChannelState | None]]
"""(seq, stream_seq, state) of each channel."""


def quick(settings: CommonSettings) -> SequencerSettings:
    """Settings with short intervals, on the same server."""
    return SequencerSettings(
        nats_url=settings.nats_url,
        partitions=settings.partitions,
        checkpoint_interval_s=0.1,
        heads_interval_s=0.1,
        directory_linger_s=0.01,
    )


@contextlib.asynccontextmanager
async def sequencing(settings: CommonSettings, *, abrupt: bool = False) -> AsyncIterator[Sequencer]:
    """A running sequencer; at the end it stops in order, or at once as a crash would (`abrupt`)."""
    own = settings if isinstance(settings, SequencerSettings) else quick(settings)
    async with Bus.connect(own, "sequencer") as bus:
        sequencer = await Sequencer.load(bus, own, Health())
        task = asyncio.create_task(sequencer.run())
        try:
            yield sequencer
            if not abrupt:
                await sequencer.stop()
                await task
        finally:
            task.cancel()
            await asyncio.wait({task})


async def record(bus: Bus, key: ChannelKey, event: e.KnownEvent | bytes) -> PubAck:
    """Put an event (or any bytes) into its channel's log, as an edge would."""
    subject = channel_subject(partition_of(key, PARTITIONS), key)
    if isinstance(event, bytes):
        return await bus.commit(subject, event, msg_id=f"{key.channel}/raw/{event!r}")
    return await bus.commit(subject, e.encode(event), msg_id=message_id(key, event.author, event.id))


async def logged(bus: Bus) -> Numbers:
    """What the logs say, counted event by event without the sequencer's code."""
    numbers: dict[ChannelKey, tuple[int, int, ChannelState | None]] = {}
    for number in range(PARTITIONS):
        async for batch in bus.scan(log_stream(Partition(number)), f"channel.{number}.>"):
            for stored in batch:
                with contextlib.suppress(InvalidId):
                    _, key = parse_channel_subject(stored.subject)
                    seq, _, state = numbers.get(key, (0, 0, None))
                    after, _ = fold(state, e.decode(stored.body))
                    numbers[key] = (seq + 1, stored.stream_seq, after)
    return numbers


async def saved(bus: Bus) -> Numbers:
    """What the checkpoints say."""
    numbers: dict[ChannelKey, tuple[int, int, ChannelState | None]] = {}
    async for batch in bus.scan(bucket_stream(CHECKPOINTS), kv_subject(CHECKPOINTS, "*.*.*")):
        for stored in batch:
            partition, workspace, channel = stored.subject.split(".")[2:]
            _, key = parse_channel_subject(f"channel.{partition}.{workspace}.{channel}")
            checkpoint = Checkpoint.model_validate_json(stored.body)
            numbers[key] = (checkpoint.seq, checkpoint.stream_seq, checkpoint.state)
    return numbers


async def position(bus: Bus, partition: int) -> Position | None:
    """The saved position of a partition."""
    subject = kv_subject(CHECKPOINTS, position_key(Partition(partition)))
    stored = await bus.last(bucket_stream(CHECKPOINTS), subject)
    return Position.model_validate_json(stored.body) if stored else None


async def last_seq(bus: Bus, stream: str) -> StreamSeq:
    """The newest sequence of a stream."""
    info = await bus.api(f"STREAM.INFO.{stream}", {})
    state = info["state"]
    assert isinstance(state, dict)
    return StreamSeq(state["last_seq"])


async def all_saved(bus: Bus) -> bool:
    """Whether checkpoints and positions say exactly what the logs say; for `eventually`.

    False while a server that was started a moment ago does not answer yet.
    """
    with contextlib.suppress(Unavailable):
        return await _all_saved(bus)
    return False


async def _all_saved(bus: Bus) -> bool:
    for number in range(PARTITIONS):
        stored = await position(bus, number)
        end = await last_seq(bus, log_stream(Partition(number)))
        if (stored.stream_seq if stored else 0) != end:
            return False
    return await saved(bus) == await logged(bus)
