"""Feeds whose gap has left the log: the archive has it, and nobody notices."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edge import trimmed
from edge.archive import Archive
from edge.feed import Feed
from edge.feeds import FeedLimits, Feeds
from edge.trimmed import Log, behind
from shared.bus import Bus
from shared.errors import LogRegressed
from shared.events import MemberLeft, Recorded
from shared.ids import ChannelKey, Seq, StreamSeq
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from tests.support.archive import running
from tests.support.feeding import ANN, Channel, Seen, active, deafen
from tests.support.trimming import committing, numbering, remembering, trim
from tests.support.waiting import eventually


async def _behind(feeds: Feeds, channel: Channel, missed: int) -> tuple[Feed, Seen, StreamSeq]:
    """A feed that has not heard of the last `missed` events, the last of which is garbage."""
    await channel.create()
    await channel.post(3)
    feed, seen = await active(feeds, channel), Seen()
    feed.attach(seen)
    await deafen(feed)
    await channel.post(missed - 1)
    last = (await channel.bus.commit(channel.subject, b"\xff garbage", msg_id="garbage")).stream_seq
    return feed, seen, last


@pytest.mark.parametrize("keep", [0, 5])
async def test_what_left_the_log_is_read_from_the_archive(
    fresh_bus: Bus,
    fresh_settings: CommonSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keep: int,
) -> None:
    """All of a gap is gone, or only its front: each event once, in order, and the live ones behind it."""
    monkeypatch.setattr(trimmed, "PAGE_MAX", 7)
    layout = await ensure_streams(fresh_bus, fresh_settings)
    channel = Channel(fresh_bus, "gap")
    async with (
        Feeds(fresh_bus, layout, FeedLimits()) as feeds,
        remembering(fresh_bus, fresh_settings, tmp_path),
    ):
        feed, seen, last = await _behind(feeds, channel, 30)
        await trim(fresh_bus, keep=keep)
        feed.want(last)
        await eventually(lambda: seen.seqs == list(range(5, 35)), within_s=30)
        await feed.subscribe()
        await channel.post()
        await eventually(lambda: seen.seqs[-1] == 35, within_s=30)
        assert (seen.seqs, seen.resets, feed.messages) == (list(range(5, 36)), [], 33)
        garbage = feed.ring.get(Seq(34))
        assert garbage is not None
        assert garbage.recorded.void == "unreadable"


async def test_a_sweep_finds_heads_that_have_left_the_log(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """A quiet channel of which the log holds nothing any more: its checkpoint says how far it goes."""
    layout = await ensure_streams(fresh_bus, fresh_settings)
    channel = Channel(fresh_bus, "quiet")
    async with (
        Feeds(fresh_bus, layout, FeedLimits()) as feeds,
        remembering(fresh_bus, fresh_settings, tmp_path),
    ):
        feed, seen, _ = await _behind(feeds, channel, 10)
        await trim(fresh_bus)
        feeds.sweep_soon("reconnect")
        await eventually(lambda: seen.seqs == list(range(5, 15)), within_s=30)
        await channel.post()
        await trim(fresh_bus)
        feeds.sweep_soon("interval")
        await eventually(lambda: seen.seqs == list(range(5, 16)), within_s=30)
        await channel.post()
        await trim(fresh_bus)
        await feed.reach_log(60)
        assert (feed.head, seen.resets) == (16, [])


async def test_who_left_in_the_gap_is_told(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """What the archive says changes the state as the log would have (P21)."""
    layout = await ensure_streams(fresh_bus, fresh_settings)
    channel = Channel(fresh_bus, "left")
    async with (
        Feeds(fresh_bus, layout, FeedLimits()) as feeds,
        remembering(fresh_bus, fresh_settings, tmp_path),
    ):
        await channel.create()
        feed, seen = await active(feeds, channel), Seen()
        feed.attach(seen)
        await deafen(feed)
        await channel.write(MemberLeft(id=channel.next_id(), author=ANN))
        last = await channel.post()
        await trim(fresh_bus)
        feed.want(last)
        await eventually(lambda: seen.seqs == [2, 3], within_s=30)
        assert ANN not in feed.state.members
        late = feed.ring.get(Seq(3))
        assert late is not None
        assert late.recorded.void == "author is not a member"


async def test_an_archive_that_comes_back_is_waited_for(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """While the archiver is away the feed holds still; then it goes on where it was."""
    layout = await ensure_streams(fresh_bus, fresh_settings)
    channel = Channel(fresh_bus, "away")
    async with Feeds(fresh_bus, layout, FeedLimits()) as feeds, numbering(fresh_settings):
        async with running(fresh_bus, committing(fresh_settings, tmp_path)):
            feed, seen, last = await _behind(feeds, channel, 10)
            await trim(fresh_bus)
        waiting = asyncio.create_task(feed.settled(last, 60))
        feed.want(last)
        async with running(fresh_bus, committing(fresh_settings, tmp_path)):
            assert (await waiting) is not None
        feed.audience.flush()
        assert (seen.seqs, seen.resets) == (list(range(5, 15)), [])


async def test_without_the_archive_the_feed_is_given_up(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What neither log nor archive has is not skipped: `reset`, and the channel is brought up anew."""
    monkeypatch.setattr(trimmed, "ARCHIVE_PATIENCE_S", 0.0)
    layout = await ensure_streams(fresh_bus, fresh_settings)
    channel = Channel(fresh_bus, "lost")
    async with Feeds(fresh_bus, layout, FeedLimits()) as feeds, numbering(fresh_settings):
        async with running(fresh_bus, committing(fresh_settings, tmp_path)):
            feed, seen, last = await _behind(feeds, channel, 10)
            await trim(fresh_bus)
        feed.want(last)
        await eventually(lambda: seen.resets == ["trimmed"], within_s=30)
        assert seen.seqs == []
        assert (await active(feeds, channel)).head == 14


@pytest.mark.parametrize("shift", [-1, 1])
async def test_an_archive_that_counts_otherwise_is_not_believed(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path, shift: int
) -> None:
    """Our own event under another number: what follows it in the archive is not what follows it here."""

    class Shifted(Archive):
        async def history(self, key: ChannelKey, **asked: object) -> tuple[list[Recorded], bool]:
            after = Seq(int(str(asked.pop("after"))) + shift)
            return await super().history(key, after=after, **asked)  # type: ignore[arg-type]

    layout = await ensure_streams(fresh_bus, fresh_settings)
    channel = Channel(fresh_bus, "shifted")
    async with (
        Feeds(fresh_bus, layout, FeedLimits()) as feeds,
        remembering(fresh_bus, fresh_settings, tmp_path),
    ):
        feed, _, last = await _behind(feeds, channel, 10)
        await trim(fresh_bus)
        position = (Log(feed.key, feed.partition, feed.epoch), feed.stream_seq, feed.head)
        with pytest.raises(LogRegressed):
            async for _ in behind(fresh_bus, Shifted(fresh_bus, 2, feeds.epochs.of), *position, upto=last):
                pass
