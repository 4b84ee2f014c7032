"""The whole sequencer against a real NATS: whatever happens to it, the numbers are those of the log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import pytest

from sequencer import archive
from shared import events as e
from shared.bus import Bus, Message
from shared.errors import LogRegressed, OutcomeUnknown, Unavailable
from shared.ids import ChannelKey, Partition, Seq, StreamSeq
from shared.records import Checkpoint, Heads
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import CHECKPOINTS, DIRECTORY, bucket_stream, checkpoint_key, kv_subject, log_stream
from tests.support.logs import USERS, channels_of, command
from tests.support.nats import NatsServer
from tests.support.sequencing import PARTITIONS, all_saved, last_seq, logged, record, saved, sequencing
from tests.support.storing import put
from tests.support.waiting import eventually

ANN, BO, CY = USERS
KEYS = [key for p in range(PARTITIONS) for key in channels_of(Partition(p), PARTITIONS, 3)]


@pytest.fixture
async def bus(fresh_bus: Bus, fresh_settings: CommonSettings) -> Bus:
    """A bus to a server of this test alone, with the streams created."""
    await ensure_streams(fresh_bus, fresh_settings)
    return fresh_bus


@pytest.fixture
def settings(fresh_settings: CommonSettings) -> CommonSettings:
    return fresh_settings


async def open_channels(bus: Bus, keys: Sequence[ChannelKey] = KEYS) -> None:
    for number, key in enumerate(keys):
        created = e.ChannelCreated(id=command(number), author=ANN, channel_kind="public", name=key.channel)
        await record(bus, key, created)


async def say(bus: Bus, first: int, count: int, keys: Sequence[ChannelKey] = KEYS) -> None:
    """Messages in turn over the channels, some void (by a stranger), some no events at all."""
    for number in range(first, first + count):
        key = keys[number % len(keys)]
        author = CY if number % 7 == 0 else ANN
        body = b"garbage %d" % number if number % 11 == 0 else None
        await record(bus, key, body or e.MessagePosted(id=command(number), author=author, text=str(number)))


async def everything_saved(bus: Bus) -> None:
    await eventually(lambda: all_saved(bus), every_s=0.1)


async def test_checkpoints_say_what_the_log_says(bus: Bus, settings: CommonSettings) -> None:
    """Checkpoints are exact and positions reach the end, void, unreadable and stray entries included."""
    await open_channels(bus)
    await bus.commit("channel.0.w.*", b"stray", msg_id="stray")
    async with sequencing(settings):
        await say(bus, 100, 60)
        await everything_saved(bus)
    assert len(await saved(bus)) == len(KEYS)


async def test_a_channel_that_begins_with_garbage_is_numbered(bus: Bus, settings: CommonSettings) -> None:
    """Garbage as the first entry takes number 1, is saved without a state, and what follows counts on."""
    key = KEYS[0]
    await record(bus, key, b"\xff\x00")
    async with sequencing(settings, abrupt=True):
        await everything_saved(bus)
        assert (await saved(bus))[key] == (1, 1, None)
    await open_channels(bus, [key])
    async with sequencing(settings):
        await everything_saved(bus)
        assert (await saved(bus))[key][0] == 2


async def test_none_for_a_while_then_one(bus: Bus, settings: CommonSettings) -> None:
    """What was recorded while no sequencer ran is numbered when one comes back, stopped or crashed."""
    await open_channels(bus)
    for round_, abrupt in enumerate((True, False, True)):
        async with sequencing(settings, abrupt=abrupt):
            await say(bus, 100 + 100 * round_, 20)
        await say(bus, 150 + 100 * round_, 20)
    async with sequencing(settings):
        await everything_saved(bus)


async def test_an_ordered_stop_leaves_nothing_to_read_again(bus: Bus, settings: CommonSettings) -> None:
    """After `stop`, positions are where the sequencer was: the next start reads nothing twice."""
    await open_channels(bus)
    async with sequencing(settings) as sequencer:
        await say(bus, 100, 30)
        await eventually(lambda: sum(ledger.position for ledger in sequencer.ledgers) == 36)
    assert await all_saved(bus)


async def test_two_at_once_are_harmless(bus: Bus, settings: CommonSettings) -> None:
    """Two sequencers, then one that crashes, then its successor: the same numbers all along."""
    await open_channels(bus)
    async with sequencing(settings):
        async with sequencing(settings, abrupt=True):
            await say(bus, 100, 60)
            await everything_saved(bus)
            await say(bus, 200, 20)
        async with sequencing(settings):
            await say(bus, 300, 20)
            await everything_saved(bus)


@pytest.mark.parametrize("bucket", [CHECKPOINTS, DIRECTORY])
async def test_a_bucket_deleted_before_the_start_is_rebuilt(
    bus: Bus, settings: CommonSettings, bucket: str
) -> None:
    """Without the bucket the log gives the same checkpoints, and the states the same directory."""
    await open_channels(bus)
    await say(bus, 100, 40)
    await record(bus, KEYS[0], e.MemberJoined(id=command(500), author=BO))
    async with sequencing(settings):
        await everything_saved(bus)
    before, listed = await saved(bus), await keys_of(bus, DIRECTORY)
    await bus.api(f"STREAM.DELETE.{bucket_stream(bucket)}", {})
    async with sequencing(settings):
        await everything_saved(bus)
        assert await saved(bus) == before
        await eventually(lambda: has_keys(bus, DIRECTORY, listed))
    assert len(listed) == 2 * len(KEYS) + 1


@pytest.mark.parametrize("bucket", [CHECKPOINTS, DIRECTORY])
async def test_a_bucket_deleted_while_running_is_rebuilt(
    bus: Bus, settings: CommonSettings, bucket: str
) -> None:
    """It comes back whole, quiet channels included, and the sequencer goes on."""
    await open_channels(bus)
    async with sequencing(settings):
        async with sequencing(settings):
            await everything_saved(bus)
            listed = await eventually(lambda: keys_of(bus, DIRECTORY))
            await bus.api(f"STREAM.DELETE.{bucket_stream(bucket)}", {})
            await eventually(lambda: has_keys(bus, bucket, set()))
            await everything_saved(bus)
            await eventually(lambda: has_keys(bus, DIRECTORY, listed))
        await say(bus, 100, 20)
        await everything_saved(bus)


async def test_missing_checkpoints_are_noticed(bus: Bus, settings: CommonSettings) -> None:
    """A position whose bucket lacks a channel is not believed: the log is read again."""
    await open_channels(bus)
    async with sequencing(settings):
        await everything_saved(bus)
    key = KEYS[0]
    partition = Partition(0)
    subject = kv_subject(CHECKPOINTS, checkpoint_key(partition, key))
    await bus.api(f"STREAM.PURGE.{bucket_stream(CHECKPOINTS)}", {"filter": subject})
    assert key not in await saved(bus)
    async with sequencing(settings):
        await say(bus, 100, 20)
        await everything_saved(bus)


async def test_unreadable_checkpoints_are_written_again(bus: Bus, settings: CommonSettings) -> None:
    """Garbage in the bucket costs reading the log again, nothing else."""
    await open_channels(bus)
    async with sequencing(settings):
        await everything_saved(bus)
    for key in (checkpoint_key(Partition(0), KEYS[0]), "nonsense", "9.w.c", "0.w.c.d"):
        await put(bus, kv_subject(CHECKPOINTS, key), b"\x00")
    async with sequencing(settings):
        await eventually(lambda: readable(bus, KEYS[0]))
        await bus.api(f"STREAM.PURGE.{bucket_stream(CHECKPOINTS)}", {"filter": "$KV.CHECKPOINTS.9.>"})
        await everything_saved(bus)


async def test_a_trimmed_log_without_checkpoints_is_refused(
    bus: Bus, settings: CommonSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If checkpoints and archive are away, nothing is numbered; with the checkpoints, it goes on."""
    monkeypatch.setattr(archive, "PATIENCE_S", 0.0)
    await open_channels(bus)
    await say(bus, 100, 30)
    async with sequencing(settings):
        await everything_saved(bus)
    end = await last_seq(bus, log_stream(Partition(0)))
    await bus.api(f"STREAM.PURGE.{log_stream(Partition(0))}", {"seq": end})
    async with sequencing(settings) as sequencer:
        await say(bus, 200, 10)
        await eventually(lambda: at_end(bus, sequencer.ledgers[0].position))
    await bus.api(f"STREAM.DELETE.{bucket_stream(CHECKPOINTS)}", {})
    with pytest.raises(LogRegressed, match=r"begins at .* the archive does not answer"):
        async with sequencing(settings):
            pass
    assert await saved(bus) == {}


@pytest.mark.parametrize("grown", [0, 40])
async def test_a_replaced_log_is_counted_afresh(bus: Bus, settings: CommonSettings, grown: int) -> None:
    """A log that was recreated is noticed, even once it has grown again: a new epoch, counted from 1."""
    await open_channels(bus)
    await say(bus, 100, 20)
    async with sequencing(settings):
        await everything_saved(bus)
    await bus.api(f"STREAM.DELETE.{log_stream(Partition(0))}", {})
    epochs = (await ensure_streams(bus, settings)).epochs
    await say(bus, 300, grown)
    async with sequencing(settings) as sequencer:
        assert sequencer.ledgers[0].epoch != epochs[Partition(0)]
        assert sequencer.ledgers[1].epoch == epochs[Partition(1)]
        await open_channels(bus)
        await everything_saved(bus)


async def test_a_checkpoint_beyond_the_end_of_the_log_is_noticed(bus: Bus, settings: CommonSettings) -> None:
    """A log that lost its end is noticed by a checkpoint alone, before any position says so."""
    epochs = (await ensure_streams(bus, settings)).epochs
    await open_channels(bus)
    ahead = Checkpoint(seq=Seq(9), stream_seq=StreamSeq(99), state=None)
    subject = kv_subject(CHECKPOINTS, checkpoint_key(Partition(0), KEYS[0]))
    await bus.commit(subject, ahead.model_dump_json().encode(), expect_last=StreamSeq(0))
    async with sequencing(settings) as sequencer:
        assert sequencer.ledgers[0].epoch != epochs[Partition(0)]
        await everything_saved(bus)


async def test_the_server_dies_under_it(
    bus: Bus, settings: CommonSettings, fresh_nats_server: NatsServer
) -> None:
    """nats-server killed and restarted while events flow: the sequencer goes on by itself."""
    await open_channels(bus)
    async with sequencing(settings) as sequencer:
        for round_ in range(2):
            talking = asyncio.create_task(say_until_stored(bus, 1000 + 100 * round_, 60))
            await eventually(lambda: sum(ledger.position for ledger in sequencer.ledgers) > 10)
            await asyncio.to_thread(fresh_nats_server.restart)
            await talking
            await eventually(lambda: bus.connected)  # all may have been stored before the kill
            await everything_saved(bus)


async def say_until_stored(bus: Bus, first: int, count: int) -> None:
    for number in range(first, first + count):
        stored = False
        while not stored:
            with contextlib.suppress(OutcomeUnknown, Unavailable):  # each after seconds of trying
                await say(bus, number, 1)
                stored = True


async def test_heads_tell_what_changed(bus: Bus, settings: CommonSettings) -> None:
    """Heads are broadcast for channels that changed, with the numbers of the log, and only for those."""
    heads: dict[str, tuple[int, int]] = {}
    await open_channels(bus)

    def receive(message: Message) -> None:
        for head in Heads.model_validate_json(message.body).heads:
            heads[head.channel] = (head.seq, head.stream_seq)

    async with sequencing(settings):
        await everything_saved(bus)
        await bus.subscribe("heads.*", receive)
        await say(bus, 600, 3, keys=KEYS[:3])
        want = {key.channel: number[:2] for key, number in (await logged(bus)).items() if key in KEYS[:3]}
        await eventually(lambda: heads == want)


async def keys_of(bus: Bus, bucket: str) -> set[str]:
    found: set[str] = set()
    async for batch in bus.scan(bucket_stream(bucket), kv_subject(bucket, ">")):
        found |= {stored.subject for stored in batch}
    return found


async def has_keys(bus: Bus, bucket: str, keys: set[str]) -> bool:
    try:
        return keys <= await keys_of(bus, bucket)
    except Unavailable:
        return False


async def readable(bus: Bus, key: ChannelKey) -> bool:
    stored = await bus.last(
        bucket_stream(CHECKPOINTS), kv_subject(CHECKPOINTS, checkpoint_key(Partition(0), key))
    )
    return stored is not None and stored.body.startswith(b"{")


async def at_end(bus: Bus, position_: int) -> bool:
    return position_ == await last_seq(bus, log_stream(Partition(0)))
