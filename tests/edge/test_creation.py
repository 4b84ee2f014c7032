"""Creating channels: the first event of a log, once, whoever makes it and however often."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge.archive import Archive
from edge.core.recording import Recording
from edge.creation import Fronts
from edge.feeds import FeedLimits, Feeds
from shared.bus import Bus
from shared.errors import Conflict, Unavailable
from shared.events import ChannelCreated
from shared.ids import (
    ChannelId,
    ChannelKey,
    Epoch,
    StreamSeq,
    UserId,
    WorkspaceId,
    direct_channel_id,
    new_command_id,
)
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import partition_of
from tests.support.recording import ANN, BOB, Edge, now_ms, posted, publisher_of
from tests.support.trimming import remembering, trim


@pytest.mark.usefixtures("archiver")
async def test_creation_again(edge: Edge) -> None:
    """The same creation is a duplicate; another one under the same id is a conflict."""
    key = ChannelKey(WorkspaceId("w"), ChannelId("taken"))
    creation = ChannelCreated(id=new_command_id(now_ms()), author=ANN, channel_kind="public", name="x")
    feed, first = await edge.publisher.create(key, creation)
    for number in range(40):
        await edge.publisher.record(feed, posted(str(number)))
    _, again = await edge.publisher.create(key, creation)
    assert (again.seq, again.at_us, again.duplicate) == (1, first.at_us, True)
    other = replace(creation, id=new_command_id(now_ms()))
    with pytest.raises(Conflict) as refused:
        await edge.publisher.create(key, other)
    assert refused.value.seq is None
    with pytest.raises(Conflict) as refused:
        await edge.publisher.create(key, replace(creation, name="y"))
    assert refused.value.seq == 1


async def test_direct_channel_is_one_whoever_opens_it(edge: Edge) -> None:
    """Both members may create the channel between them; both get the same one."""
    members = frozenset({ANN, BOB})
    key = ChannelKey(WorkspaceId("w"), direct_channel_id(members))
    for author, duplicate in ((ANN, False), (BOB, True)):
        creation = ChannelCreated(
            id=new_command_id(now_ms()),
            author=author,
            channel_kind="direct",
            name="",
            members=tuple(sorted(members)),
        )
        _, recording = await edge.publisher.create(key, creation)
        assert (recording.seq, recording.duplicate) == (1, duplicate)


class Counting(Bus):
    """Counts the questions about streams."""

    infos = 0

    async def api(self, operation: str, body: Mapping[str, object]) -> dict[str, object]:
        self.infos += operation.startswith("STREAM.INFO")
        return await super().api(operation, body)


async def _opened(edge: Edge, name: str, author: UserId = ANN) -> Recording:
    """Somebody creates a public channel."""
    created = ChannelCreated(id=new_command_id(now_ms()), author=author, channel_kind="public", name=name)
    _, recording = await edge.publisher.create(ChannelKey(WorkspaceId("w"), ChannelId(name)), created)
    return recording


@contextlib.asynccontextmanager
async def _edge(bus: Bus, settings: CommonSettings) -> AsyncIterator[Edge]:
    layout = await ensure_streams(bus, settings)
    async with Feeds(bus, layout, FeedLimits()) as feeds:
        archive = Archive(bus, layout.partitions, feeds.epochs.of)
        yield Edge(bus, feeds, archive, publisher_of(bus, feeds, archive))


async def test_a_creation_asks_about_its_stream_once(fresh_settings: CommonSettings) -> None:
    """Only the activation asks where the log begins; before the commit it is known from a moment ago."""
    async with Counting.connect(fresh_settings, "edge") as bus, _edge(bus, fresh_settings) as edge:
        for name in ("a", "b", "c", "d", "e"):  # both partitions have been asked about
            await _opened(edge, name)
        before = bus.infos
        for number in range(10):
            await _opened(edge, f"c{number}")
        assert bus.infos - before == 10


async def test_what_has_left_the_log_is_not_created_again(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """An edge that knows, and one that takes the log for whole: a conflict, and no other first event."""
    names = ["a", "b", "c", "d", "e"]
    async with (
        remembering(fresh_bus, fresh_settings, tmp_path),
        _edge(fresh_bus, fresh_settings) as first,
        _edge(fresh_bus, fresh_settings) as late,
    ):
        for name in names:
            await _opened(first, name)
            await _opened(late, f"of-{name}")
        await trim(fresh_bus)
        async with _edge(fresh_bus, fresh_settings) as knowing:
            for edge, added in ((knowing, 0), (late, 1)):
                for name in names:
                    with pytest.raises(Conflict):
                        await _opened(edge, name, BOB)
                    key = ChannelKey(WorkspaceId("w"), ChannelId(name))
                    feed = (await edge.feeds.activate([key]))[key]
                    assert feed is not None
                    assert (feed.head, feed.state.created_by) == (1 + added, ANN)
            fresh = await _opened(knowing, "of-nobody")
            assert (fresh.seq, fresh.duplicate) == (1, False)


async def test_in_another_epoch_a_log_begins_anew(fresh_settings: CommonSettings) -> None:
    """That it was trimmed is forgotten with the epoch: the copy that took its place holds its beginning."""
    async with Counting.connect(fresh_settings, "edge") as bus, _edge(bus, fresh_settings) as edge:
        await _opened(edge, "a")
        await _opened(edge, "b")
        fronts = Fronts(bus, edge.feeds.epochs)
        key = ChannelKey(WorkspaceId("w"), ChannelId("a"))
        partition = partition_of(key, fresh_settings.partitions)
        before = edge.feeds.epochs.of(partition)
        fronts._known[partition] = before, StreamSeq(99), time.monotonic()
        with pytest.raises(Unavailable, match="being written"):
            await fronts.hides(key, partition)
        fronts._known[partition] = Epoch("another"), StreamSeq(99), time.monotonic()
        assert not await fronts.hides(key, partition)
        assert fronts._known[partition][:2] == (before, 1)
