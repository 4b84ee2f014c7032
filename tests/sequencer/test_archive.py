"""Trimmed logs whose checkpoints are lost: the archive proves the numbers, or nothing is numbered."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from archiver import cache
from sequencer import archive
from shared import events as e
from shared.bus import Bus
from shared.channel import fold
from shared.errors import LogRegressed, Unavailable
from shared.ids import ChannelKey, Epoch, Partition, Seq, StreamSeq, UserId
from shared.log_epochs import look
from shared.records import ArchivedHead, ArchivedHeads, Belonging
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import (
    CHECKPOINTS,
    DIRECTORY,
    archive_subject,
    bucket_stream,
    channel_subject,
    directory_key,
    kv_subject,
    log_stream,
    parse_channel_subject,
)
from tests.support.archive import running, status
from tests.support.logs import USERS, channels_of, command
from tests.support.sequencing import (
    PARTITIONS,
    Numbers,
    last_seq,
    position,
    record,
    saved,
    sequencing,
)
from tests.support.trimming import committing, trim
from tests.support.waiting import eventually

ANN, BO, CY = USERS
KEYS = [key for p in range(PARTITIONS) for key in channels_of(Partition(p), PARTITIONS, 3)]
STRAY = channels_of(Partition(1), PARTITIONS, 4)[3]
"""Belongs to the other log."""


@pytest.fixture
async def bus(fresh_bus: Bus, fresh_settings: CommonSettings) -> Bus:
    """A bus to a server of this test alone: channels, some void events, garbage, and a stray one."""
    await ensure_streams(fresh_bus, fresh_settings)
    for number, key in enumerate(KEYS):
        created = e.ChannelCreated(id=command(number), author=ANN, channel_kind="public", name=key.channel)
        await record(fresh_bus, key, created)
    await record(fresh_bus, KEYS[0], e.MemberJoined(id=command(50), author=BO))
    await say(fresh_bus, 100, 60)
    await fresh_bus.commit("channel.0.w.*", b"stray", msg_id="stray")
    await fresh_bus.commit(channel_subject(Partition(0), STRAY), b"elsewhere", msg_id="elsewhere")
    return fresh_bus


async def say(bus: Bus, first: int, count: int) -> None:
    for number in range(first, first + count):
        author = CY if number % 7 == 0 else ANN
        body = b"garbage %d" % number if number % 11 == 0 else None
        message = body or e.MessagePosted(id=command(number), author=author, text=str(number))
        await record(bus, KEYS[number % len(KEYS)], message)


async def lose(bus: Bus, bucket: str = CHECKPOINTS) -> None:
    await bus.api(f"STREAM.DELETE.{bucket_stream(bucket)}", {})


async def counted_on(bus: Bus, numbers: Numbers) -> Numbers:
    """What these numbers have become with all that stands in the logs behind them."""
    found = dict(numbers)
    for number in range(PARTITIONS):
        async for batch in bus.scan(log_stream(Partition(number)), f"channel.{number}.>"):
            for stored in batch:
                if stored.subject.endswith("*"):
                    continue
                _, key = parse_channel_subject(stored.subject)
                if key in found and stored.stream_seq > found[key][1]:
                    seq, _, state = found[key]
                    found[key] = (seq + 1, stored.stream_seq, fold(state, e.decode(stored.body))[0])
    return found


async def at_end(bus: Bus) -> bool:
    """Whether the positions say that everything is saved."""
    for number in range(PARTITIONS):
        found = await position(bus, number)
        if found is None or found.stream_seq != await last_seq(bus, log_stream(Partition(number))):
            return False
    return True


async def listed(bus: Bus) -> set[str]:
    found: set[str] = set()
    try:
        async for batch in bus.scan(bucket_stream(DIRECTORY), kv_subject(DIRECTORY, ">")):
            found |= {stored.subject for stored in batch}
    except Unavailable:
        pass
    return found


async def is_listed(bus: Bus, key: ChannelKey, user: UserId) -> bool:
    subject = kv_subject(DIRECTORY, directory_key(key.workspace, user, key.channel))
    stored = await bus.newest(bucket_stream(DIRECTORY), subject)
    return stored is not None and Belonging.model_validate_json(stored.body).member


async def forget_archived(bus: Bus) -> None:
    """Empty the logs, once all of them is archived."""
    for number in range(PARTITIONS):
        end = await last_seq(bus, log_stream(Partition(number)))
        await eventually(lambda number=number, end=end: is_archived(bus, number, end), within_s=60)  # type: ignore[misc]
        await bus.api(f"STREAM.PURGE.{log_stream(Partition(number))}", {})


async def is_archived(bus: Bus, number: int, end: int) -> bool:
    found = await status(bus, Partition(number))
    return found is not None and found.watermark >= end


async def test_who_was_removed_while_none_ran_is_listed_no_more(
    bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """The archive counts the removal, and no sequencer has read it: the directory is told nevertheless."""
    async with running(bus, committing(fresh_settings, tmp_path)):
        async with sequencing(fresh_settings):
            await eventually(lambda: at_end(bus))
        assert await is_listed(bus, KEYS[0], BO)
        await lose(bus)
        await record(bus, KEYS[0], e.MemberLeft(id=command(51), author=BO))
        await forget_archived(bus)
        async with sequencing(fresh_settings):
            await eventually(lambda: at_end(bus))
            assert not await is_listed(bus, KEYS[0], BO)
            assert await is_listed(bus, KEYS[0], ANN)


@pytest.mark.parametrize("keep", [0, 9])
@pytest.mark.parametrize("page", [1, 500])
async def test_the_archive_proves_the_numbers(
    bus: Bus,
    fresh_settings: CommonSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keep: int,
    page: int,
) -> None:
    """Checkpoints and the log's front are gone, the directory too: the same numbers, and on from there."""
    monkeypatch.setattr(cache, "HEADS_MAX", page)
    async with running(bus, committing(fresh_settings, tmp_path)):
        async with sequencing(fresh_settings):
            await eventually(lambda: at_end(bus), within_s=30)
            before, directory = await saved(bus), await listed(bus)
            await trim(bus, keep=keep)
        await lose(bus)
        await lose(bus, DIRECTORY)
        async with sequencing(fresh_settings):
            await eventually(lambda: at_end(bus), within_s=30)
            assert await saved(bus) == before
            await eventually(lambda: has(bus, directory), within_s=30)
            await say(bus, 200, 30)
            expected = await counted_on(bus, before)
            await eventually(lambda: at_end(bus), within_s=30)
            assert await saved(bus) == expected
        async with sequencing(fresh_settings):  # from the new checkpoints alone
            await say(bus, 300, 10)
            expected = await counted_on(bus, expected)
            await eventually(lambda: at_end(bus), within_s=30)
            assert await saved(bus) == expected
    assert len(directory) == 2 * len(KEYS) + 1


async def has(bus: Bus, directory: set[str]) -> bool:
    return directory <= await listed(bus)


async def test_an_archive_that_is_still_starting_is_waited_for(
    bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sequencer and archiver start together, in whatever order."""
    monkeypatch.setattr(archive, "PATIENCE_S", 60.0)
    async with running(bus, committing(fresh_settings, tmp_path)), sequencing(fresh_settings):
        await eventually(lambda: at_end(bus), within_s=30)
        before = await saved(bus)
        await trim(bus)
    await lose(bus)
    asked: list[bytes] = []
    epoch = (await look(bus, Partition(0))).label

    async def busy(body: bytes) -> bytes:
        asked.append(body)
        raise Unavailable("starting")

    subscription = await bus.serve(archive_subject(Partition(0), "heads"), busy)
    waiting = asyncio.create_task(
        archive.archived_heads(bus, Partition(0), PARTITIONS, epoch=epoch, upto=StreamSeq(1))
    )
    await eventually(lambda: len(asked) > 1, within_s=30)
    await subscription.unsubscribe()
    async with running(bus, committing(fresh_settings, tmp_path)):
        heads = await waiting
    assert {key: (one.seq, one.stream_seq, one.state) for key, one in heads.items()} == {
        key: before[key] for key in KEYS[:3]
    }


KEY = KEYS[0]


def _head(seq: int, stream_seq: int, key: ChannelKey = KEY) -> ArchivedHead:
    return ArchivedHead(**key._asdict(), seq=Seq(seq), stream_seq=StreamSeq(stream_seq), state=None)


@pytest.mark.parametrize(
    ("epoch", "watermark", "heads", "why"),
    [
        ("another", 1000, [], "is one of epoch another"),
        ("", 5, [_head(1, 1)], "ends at 5"),
        ("", 1000, [_head(9, 999)], "ends at"),
    ],
    ids=["another log", "a hole between archive and log", "more than the log ever had"],
)
async def test_an_archive_that_proves_nothing_is_refused(
    bus: Bus,
    fresh_settings: CommonSettings,
    epoch: str,
    watermark: int,
    heads: list[ArchivedHead],
    why: str,
) -> None:
    """A wrong number is worse than none: nothing is saved."""
    async with sequencing(fresh_settings):
        await eventually(lambda: at_end(bus), within_s=30)
    end = await last_seq(bus, log_stream(Partition(0)))
    await bus.api(f"STREAM.PURGE.{log_stream(Partition(0))}", {"seq": end})
    await lose(bus)
    own = (await look(bus, Partition(0))).label
    page = ArchivedHeads(
        epoch=Epoch(epoch or own), watermark=StreamSeq(watermark), heads=tuple(heads), more=False
    )

    async def answer(_: bytes) -> bytes:
        return page.model_dump_json().encode()

    await bus.serve(archive_subject(Partition(0), "heads"), answer)
    with pytest.raises(LogRegressed, match=why):
        async with sequencing(fresh_settings):
            pass
    assert await saved(bus) == {}


async def test_a_head_that_the_log_contradicts_ends_the_sequencer(
    bus: Bus, fresh_settings: CommonSettings
) -> None:
    """A head that is still in the log is held against it: another channel's event there is no proof."""
    async with sequencing(fresh_settings):
        await eventually(lambda: at_end(bus), within_s=30)
    end = await last_seq(bus, log_stream(Partition(0)))
    await bus.api(f"STREAM.PURGE.{log_stream(Partition(0))}", {"seq": end})
    await lose(bus)
    page = ArchivedHeads(
        epoch=(await look(bus, Partition(0))).label,
        watermark=end,
        heads=(_head(3, end, KEYS[1]),),  # the last event there is on a stray subject
        more=False,
    )

    async def answer(_: bytes) -> bytes:
        return page.model_dump_json().encode()

    await bus.serve(archive_subject(Partition(0), "heads"), answer)
    with pytest.raises(ExceptionGroup) as caught:
        async with sequencing(fresh_settings) as sequencer:
            await sequencer._stopped.wait()
    assert caught.group_contains(LogRegressed, match="belong to another log")
