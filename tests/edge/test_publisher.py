"""One id, one message, for ever: fresh ids by the duplicate window, late ids by log and archive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from edge.archive import Archive
from edge.breakers import Breakers
from edge.core.breaker import Bounds
from edge.core.recording import Recording
from edge.fanout import Flush
from edge.feed import Feed
from edge.feeds import FeedLimits, Feeds
from edge.group_commit import GroupCommits
from edge.late_lane import BATCH_MIN, LateLane
from edge.publisher import FRESH_MS, Publisher
from edge.replayer import Replayer
from edge.waiting import Waiting
from shared.bus import Bus, PubAck
from shared.errors import ClockSkew, Conflict, Forbidden, OutcomeUnknown, ParleyError, Unavailable
from shared.events import ChannelCreated, KnownEvent, MemberLeft, MessagePosted, encode
from shared.ids import (
    ChannelId,
    ChannelKey,
    CommandId,
    Partition,
    Seq,
    StreamSeq,
    UserId,
    WorkspaceId,
    derived_command_id,
    direct_channel_id,
    new_command_id,
)
from shared.records import KnownId
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import channel_subject, log_stream
from tests.support.nats import NatsServer
from tests.support.services import ServiceProcess

ANN, BOB = UserId("ann"), UserId("bob")
LONG_AGO_MS = 1_100_000_000_000


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


def posted(text: str, id_: CommandId | None = None) -> MessagePosted:
    """A message of Ann's."""
    return MessagePosted(id=id_ or new_command_id(now_ms()), author=ANN, text=text)


def old_id(*parts: str) -> CommandId:
    """An id from long before the duplicate window."""
    return derived_command_id(LONG_AGO_MS, *parts)


def publisher_of(bus: Bus, feeds: Feeds, archive: Archive) -> Publisher:
    """A publisher to two logs, as an edge has it."""
    logs = [log_stream(Partition(number)) for number in range(2)]
    breakers = Breakers(logs, Bounds(), in_flight_max=8_000, reachable=lambda: bus.connected)
    groups = GroupCommits(bus, grouping=True, waiting_max=2_000, spawn=feeds.spawn)
    return Publisher(bus, feeds, archive, breakers, groups, 2)


@dataclass
class Edge:
    """What an edge uses to record."""

    bus: Bus
    feeds: Feeds
    archive: Archive
    publisher: Publisher

    async def channel(self, name: str) -> Feed:
        """A fresh public channel of Ann's."""
        key = ChannelKey(WorkspaceId("w"), ChannelId(name))
        created = ChannelCreated(id=new_command_id(now_ms()), author=ANN, channel_kind="public", name=name)
        feed, recording = await self.publisher.create(key, created)
        assert (recording.seq, recording.duplicate) == (1, False)
        return feed


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def archiver(
    nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServiceProcess]:
    """A real archiver for the module."""
    folder: Path = tmp_path_factory.mktemp("archive")
    process = ServiceProcess(
        "archiver",
        folder / "archiver.log",
        PARLEY_NATS_URL=nats_server.url,
        PARLEY_PARTITIONS="2",
        PARLEY_ARCHIVE_DIR=str(folder / "archive"),
        PARLEY_FLUSH_INTERVAL_S="0.5",
    )
    await process.start()
    yield process
    process.kill()


@pytest.fixture
async def edge(bus: Bus, settings: CommonSettings) -> AsyncIterator[Edge]:
    """An edge's publishing side; tests of the late path also ask for `archiver`."""
    layout = await ensure_streams(bus, settings)
    async with Feeds(bus, layout, FeedLimits(ring_entries_max=30)) as feeds:
        archive = Archive(bus, layout.partitions)
        yield Edge(bus, feeds, archive, publisher_of(bus, feeds, archive))


async def test_record_returns_number_and_time(edge: Edge) -> None:
    """Consecutive events get consecutive numbers and the log's time."""
    feed = await edge.channel("numbers")
    first = await edge.publisher.record(feed, posted("a"))
    second = await edge.publisher.record(feed, posted("b"))
    assert (first.seq, second.seq) == (2, 3)
    assert abs(second.at_us / 1000 - now_ms()) < 5_000
    assert not first.duplicate


async def test_fresh_id_again_is_the_same_message(edge: Edge) -> None:
    """Same id, same body: the original number, marked as duplicate, nothing stored (P12, AT-17)."""
    feed = await edge.channel("again")
    event = posted("a")
    first = await edge.publisher.record(feed, event)
    again = await edge.publisher.record(feed, event)
    assert (again.seq, again.at_us, again.duplicate) == (first.seq, first.at_us, True)
    assert feed.head == 2


async def test_fresh_id_with_another_body_is_a_conflict(edge: Edge) -> None:
    """Same id, other body: `conflict`, and the first one stands (AT-18)."""
    feed = await edge.channel("conflict")
    event = posted("a")
    await edge.publisher.record(feed, event)
    with pytest.raises(Conflict):
        await edge.publisher.record(feed, posted("b", event.id))
    assert feed.head == 2


@pytest.mark.usefixtures("archiver")
async def test_duplicate_older_than_the_ring(edge: Edge) -> None:
    """A duplicate within the window whose original left the ring still gets its number, from the archive."""
    feed = await edge.channel("older")
    event = posted("a")
    first = await edge.publisher.record(feed, event)
    for number in range(40):
        await edge.publisher.record(feed, posted(str(number)))
    assert feed.ring.floor > first.seq
    again = await edge.publisher.record(feed, event)
    assert (again.seq, again.duplicate) == (first.seq, True)
    with pytest.raises(Conflict):
        await edge.publisher.record(feed, posted("b", event.id))


async def test_id_from_the_future_is_refused(edge: Edge) -> None:
    """An id ahead of the server by more than half the window is refused and leaves no trace."""
    feed = await edge.channel("future")
    with pytest.raises(ClockSkew):
        await edge.publisher.record(feed, posted("a", new_command_id(now_ms() + FRESH_MS + 5_000)))
    assert feed.head == 1


async def test_void_event_is_forbidden(edge: Edge) -> None:
    """An event that lost a race against its author's removal is recorded as void: the sender hears so."""
    feed = await edge.channel("void")
    await edge.publisher.record(feed, MemberLeft(id=new_command_id(now_ms()), author=ANN))
    with pytest.raises(Forbidden, match="not a member"):
        await edge.publisher.record(feed, posted("too late"))
    assert feed.head == 3


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
    other = creation.model_copy(update={"id": new_command_id(now_ms())})
    with pytest.raises(Conflict):
        await edge.publisher.create(key, other)


async def fresh(edge: Edge, feed: Feed, event: KnownEvent) -> Recording:
    """What `record_fresh` answers, or raises."""
    answered: asyncio.Future[Recording | ParleyError] = asyncio.get_running_loop().create_future()
    edge.publisher.record_fresh(feed, event, {}, answered.set_result)
    outcome = await answered
    if isinstance(outcome, ParleyError):
        raise outcome
    return outcome


async def test_a_conflict_among_many_at_once(edge: Edge) -> None:
    """In a batch with an id that has another body in the log, that one is a conflict, and it alone."""
    feeds = [await edge.channel(f"batched-{number}") for number in range(60)]
    known = posted("a")
    await fresh(edge, feeds[40], known)
    events = [posted("b") for _ in feeds]
    events[40] = posted("b", known.id)
    sends = (fresh(edge, feed, event) for feed, event in zip(feeds, events, strict=True))
    outcomes = await asyncio.gather(*sends, return_exceptions=True)
    assert isinstance(outcomes.pop(40), Conflict)
    assert {(one.seq, one.duplicate) for one in outcomes if isinstance(one, Recording)} == {(2, False)}
    assert len(outcomes) == len(feeds) - 1


@pytest.mark.usefixtures("archiver")
async def test_without_a_task_it_is_the_same(edge: Edge) -> None:
    """The way that WebSocket commands take answers as `record` does, whatever the log says."""
    feed = await edge.channel("fresh")
    event = posted("a")
    first = await fresh(edge, feed, event)
    assert (first.seq, first.duplicate) == (2, False)
    assert await fresh(edge, feed, event) == first._replace(duplicate=True)
    assert await edge.publisher.record(feed, event) == first._replace(duplicate=True)
    with pytest.raises(Conflict):
        await fresh(edge, feed, posted("b", event.id))
    with pytest.raises(ClockSkew):
        await fresh(edge, feed, posted("a", new_command_id(now_ms() + FRESH_MS + 5_000)))
    for number in range(40):  # a duplicate of what has left the ring
        await fresh(edge, feed, posted(str(number)))
    assert await fresh(edge, feed, event) == first._replace(duplicate=True)
    await fresh(edge, feed, MemberLeft(id=new_command_id(now_ms()), author=ANN))
    with pytest.raises(Forbidden):
        await fresh(edge, feed, posted("too late"))


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


@pytest.mark.usefixtures("archiver")
async def test_late_ids_are_stored_once_and_in_order(edge: Edge) -> None:
    """Ids older than the window, handed over together: each once, in order; again: the same numbers."""
    feed = await edge.channel("late")
    events = [posted(f"t{n}", old_id("late", str(n))) for n in range(600)]
    assert edge.publisher.is_late(events[0])
    first = await asyncio.gather(*(edge.publisher.record(feed, event) for event in events))
    assert [recording.seq for recording in first] == list(range(2, 602))
    assert not any(recording.duplicate for recording in first)
    again = await asyncio.gather(*(edge.publisher.record(feed, event) for event in events))
    assert [recording.seq for recording in again] == list(range(2, 602))
    assert all(recording.duplicate for recording in again)
    assert feed.head == 601


@pytest.mark.usefixtures("archiver")
async def test_an_import_in_order_asks_once(edge: Edge) -> None:
    """What is greater than every id of the channel is new; whatever is not is looked up, and found."""
    asked: list[int] = []

    class Counting(Archive):
        async def ids(
            self, key: ChannelKey, ids: Sequence[tuple[UserId, CommandId]], applied: StreamSeq
        ) -> tuple[list[KnownId | None], str]:
            asked.append(len(ids))
            return await super().ids(key, ids, applied)

    def said(minute: int) -> MessagePosted:
        return posted(f"t{minute}", derived_command_id(LONG_AGO_MS + 60_000 * minute, "inorder"))

    publisher = publisher_of(edge.bus, edge.feeds, Counting(edge.bus, 2))
    created = ChannelCreated(id=said(0).id, author=ANN, channel_kind="public", name="inorder")
    feed, _ = await publisher.create(ChannelKey(WorkspaceId("w"), ChannelId("inorder")), created)
    in_order = [await publisher.record_late(feed, said(minute), {}) for minute in (1, 2, 4, 5)]
    assert [one.seq for one in in_order] == [2, 3, 4, 5]
    assert len(asked) == 1
    assert await publisher.record_late(feed, said(4), {}) == in_order[2]._replace(duplicate=True)
    assert (await publisher.record_late(feed, said(3), {}))[::2] == (6, False)
    assert len(asked) == 3
    assert (await publisher.record(feed, posted("newer than all that is imported"))).seq == 7
    assert (await publisher.record_late(feed, said(9), {}))[::2] == (8, False)
    assert len(asked) == 4
    for minute in (1, 2, 3, 4, 5, 9):
        assert (await publisher.record_late(feed, said(minute), {})).duplicate
    assert feed.head == 8


@pytest.mark.usefixtures("archiver")
async def test_lost_answer_to_a_batch(edge: Edge) -> None:
    """What a batch without an answer has stored is found again, and is no duplicate: it is this command's."""
    feed = await edge.channel("lostbatch")
    publisher, lost = edge.publisher, []

    async def lossy(feed: Feed, run: Sequence[Waiting], expect_last: StreamSeq) -> list[StreamSeq]:
        lost.append(await publisher._commit_together(feed, run, expect_last))
        raise OutcomeUnknown("no answer to a batch")

    lane = LateLane(
        feed,
        edge.archive,
        commit=publisher._commit_waiting,
        commit_together=lossy,
        find_again=publisher._older_than_ring,
        spawn=edge.feeds.spawn,
    )
    events = [posted(f"t{n}", old_id("lostbatch", str(n))) for n in range(BATCH_MIN)]
    found = await asyncio.gather(*(lane.submit(event, {}) for event in events))
    assert [one.seq for one in found] == list(range(2, BATCH_MIN + 2))
    assert len(lost) == 1
    assert not any(one.duplicate for one in found)
    assert feed.head == BATCH_MIN + 1
    again = await asyncio.gather(*(lane.submit(event, {}) for event in events))
    assert all(one.duplicate for one in again)


@pytest.mark.usefixtures("archiver")
async def test_what_was_tried_is_never_called_unrecorded(edge: Edge) -> None:
    """Behind a batch without an answer a refusal is `unknown`: `unavailable` would say that none is there."""
    feed = await edge.channel("triedlate")
    publisher = edge.publisher

    async def lossy(feed: Feed, run: Sequence[Waiting], expect_last: StreamSeq) -> list[StreamSeq]:
        await publisher._commit_together(feed, run, expect_last)
        raise OutcomeUnknown("no answer to a batch")

    async def refused(*_: object) -> PubAck:
        raise Unavailable("JetStream cannot be reached", retry_after_ms=1000)

    lane = LateLane(
        feed,
        edge.archive,
        commit=refused,
        commit_together=lossy,
        find_again=publisher._older_than_ring,
        spawn=edge.feeds.spawn,
    )
    events = [posted(f"t{n}", old_id("triedlate", str(n))) for n in range(BATCH_MIN)]
    outcomes = await asyncio.gather(*(lane.submit(one, {}) for one in events), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {OutcomeUnknown}


@pytest.mark.usefixtures("archiver")
async def test_bug_on_the_late_path(edge: Edge) -> None:
    """Whoever waits hears that the outcome is unknown, and the lane serves those who come after."""
    feed = await edge.channel("latebug")
    publisher = edge.publisher
    bugs = [RuntimeError("a bug")]

    async def failing(feed: Feed, one: Waiting, expect_last: StreamSeq) -> PubAck:
        if bugs:
            raise bugs.pop()
        return await publisher._commit_waiting(feed, one, expect_last)

    lane = LateLane(
        feed,
        edge.archive,
        commit=failing,
        commit_together=publisher._commit_together,
        find_again=publisher._older_than_ring,
        spawn=edge.feeds.spawn,
    )
    first, second = (lane.submit(posted(f"t{n}", old_id("latebug", str(n))), {}) for n in range(2))
    for waiting in (first, second):
        with pytest.raises(OutcomeUnknown):
            await waiting
    assert (await lane.submit(posted("t0", old_id("latebug", "0")), {})).seq == 2


@pytest.mark.usefixtures("archiver")
async def test_lost_answer_to_one_late_id(edge: Edge) -> None:
    """The retry of a conditional commit is refused because the first try is stored: that is no duplicate."""
    feed = await edge.channel("lostone")
    publisher = edge.publisher

    async def lossy(feed: Feed, one: Waiting, expect_last: StreamSeq) -> PubAck:
        await publisher._commit_waiting(feed, one, expect_last)
        return await publisher._commit(feed, one.event, expect_last, {}, tries=1)

    lane = LateLane(
        feed,
        edge.archive,
        commit=lossy,
        commit_together=publisher._commit_together,
        find_again=publisher._older_than_ring,
        spawn=edge.feeds.spawn,
    )
    event = posted("a", old_id("lostone"))
    assert (await lane.submit(event, {}))[::2] == (2, False)
    assert (await lane.submit(event, {}))[::2] == (2, True)
    assert feed.head == 2


@pytest.mark.usefixtures("archiver")
async def test_late_id_with_another_body_is_a_conflict(edge: Edge) -> None:
    """Idempotence does not end with the window, and neither does `conflict` (AT-19)."""
    feed = await edge.channel("lateconflict")
    event = posted("a", old_id("lc"))
    await edge.publisher.record(feed, event)
    with pytest.raises(Conflict):
        await edge.publisher.record(feed, posted("b", event.id))
    assert feed.head == 2


@pytest.mark.usefixtures("archiver")
async def test_late_id_twice_at_once(edge: Edge) -> None:
    """The same late id twice in one batch is one message."""
    feed = await edge.channel("latetwice")
    event = posted("a", old_id("twice"))
    results = await asyncio.gather(*(edge.publisher.record(feed, event) for _ in range(5)))
    assert {recording.seq for recording in results} == {2}
    assert sorted(recording.duplicate for recording in results) == [False, True, True, True, True]


@pytest.mark.usefixtures("archiver")
async def test_late_ids_against_other_writers(edge: Edge) -> None:
    """Two edges writing the same late ids while somebody else talks: every id is one message."""
    feed = await edge.channel("contended")
    async with Feeds(edge.bus, edge.feeds._layout, FeedLimits()) as other_feeds:
        other_feed = (await other_feeds.activate([feed.key]))[feed.key]
        assert other_feed is not None
        other = publisher_of(edge.bus, other_feeds, edge.archive)
        events = [posted(f"t{n}", old_id("contended", str(n))) for n in range(40)]

        async def talk() -> None:
            for n in range(40):
                await edge.publisher.record(feed, posted(f"live {n}"))

        mine, theirs, _ = await asyncio.gather(
            asyncio.gather(*(edge.publisher.record(feed, event) for event in events)),
            asyncio.gather(*(other.record(other_feed, event) for event in events)),
            talk(),
        )
    assert [recording.seq for recording in mine] == [recording.seq for recording in theirs]
    assert len({recording.seq for recording in mine}) == 40
    position = await edge.bus.last(f"LOG_{feed.partition}", channel_subject(feed.partition, feed.key))
    assert position is not None
    await feed.settled(position.stream_seq, 5)
    assert feed.head == 81


async def test_late_path_survives_a_killed_archiver(edge: Edge, archiver: ServiceProcess) -> None:
    """Without the archiver old ids are refused as not recorded; when it is back, nothing is doubled."""
    feed = await edge.channel("noarchiver")
    event = posted("a", old_id("noarchiver"))
    first = await edge.publisher.record(feed, event)
    archiver.kill()
    with pytest.raises(Unavailable):
        await edge.publisher.record(feed, event)
    fresh_event = posted("fresh ids go on")
    assert (await edge.publisher.record(feed, fresh_event)).seq == 3
    for number in range(40):
        await edge.publisher.record(feed, posted(str(number)))
    with pytest.raises(OutcomeUnknown):  # the log has it, so it must not be called unrecorded
        await edge.publisher.record(feed, fresh_event)
    await archiver.start()
    again = await edge.publisher.record(feed, event)
    assert (again.seq, again.duplicate) == (first.seq, True)


@pytest.mark.usefixtures("archiver")
async def test_replay_joins_archive_and_ring(edge: Edge) -> None:
    """From any cursor a replay is every event above it, once, in order, the bytes that live clients saw."""
    feed = await edge.channel("replay")
    live: dict[int, bytes] = {}

    class Tap:
        def on_flush(self, _: Feed, flush: Flush) -> None:
            live.update({entry.seq: entry.body for entry in flush.entries})

        def on_reset(self, _: Feed, reason: str) -> None:
            raise AssertionError(reason)

    feed.attach(Tap())
    for number in range(120):
        await edge.publisher.record(feed, posted(f"é {number}"))
    replayer = Replayer(edge.archive)
    for after in (0, 1, 60, 89, 90, 91, 120, 121):
        pages = [page async for page in replayer.pages(feed, Seq(after))]
        replayed = [one for page in pages for one in page]
        assert [one.seq for one in replayed] == list(range(after + 1, 122))
        assert all(live[one.seq] == one.body for one in replayed if one.seq > 1)


@pytest.mark.usefixtures("archiver")
async def test_garbage_does_not_block_late_ids(edge: Edge) -> None:
    """A body that is no event is numbered by the archive as by the feed, and late ids go on behind it."""
    feed = await edge.channel("lategarbage")
    subject = channel_subject(feed.partition, feed.key)
    await edge.bus.commit(subject, b"\x00\xff{", msg_id="garbage")
    await edge.bus.commit(subject, encode(posted("direct")), msg_id="direct")
    recording = await edge.publisher.record(feed, posted("a", old_id("garbage")))
    assert recording.seq == 4
    events, more = await edge.archive.history(
        feed.key, after=Seq(0), limit=10, applied=StreamSeq(feed.stream_seq)
    )
    assert [one.void for one in events] == [None, "unreadable", None, None]
    assert not more
