"""Late ids: what log and archive know, each stored once and in order, whatever is lost or contended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from edge.archive import Archive
from edge.core.recording import Recording
from edge.feed import Feed
from edge.feeds import FeedLimits, Feeds
from edge.late_lane import BATCH_MIN, LateLane
from edge.waiting import Waiting
from shared.bus import PubAck
from shared.errors import Conflict, OutcomeUnknown, Unavailable
from shared.events import ChannelCreated, MessagePosted, encode
from shared.ids import (
    ChannelId,
    ChannelKey,
    CommandId,
    Seq,
    StreamSeq,
    UserId,
    WorkspaceId,
    derived_command_id,
)
from shared.records import KnownId
from shared.subjects import channel_subject
from tests.support.recording import ANN, LONG_AGO_MS, Edge, old_id, posted, publisher_of
from tests.support.services import ServiceProcess


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

    publisher = publisher_of(edge.bus, edge.feeds, Counting(edge.bus, 2, edge.feeds.epochs.of))
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
    with pytest.raises(Conflict) as refused:
        await edge.publisher.record(feed, posted("b", event.id))
    assert refused.value.seq == 2
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
async def test_late_id_again_further_behind(edge: Edge) -> None:
    """Handed over together, with one between them that is known: another body is a conflict there, too."""
    feed = await edge.channel("latefar")
    known, first = posted("k", old_id("known")), posted("a", old_id("far"))
    await edge.publisher.record(feed, known)
    events = [first, known, posted("b", first.id), first]
    futures = [edge.publisher.record_late(feed, event, {}) for event in events]
    new, old, conflict, again = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(new, Recording)
    assert isinstance(old, Recording)
    assert ((new.seq, new.duplicate), (old.seq, old.duplicate)) == ((3, False), (2, True))
    assert isinstance(conflict, Conflict)
    assert again == new._replace(duplicate=True)
    assert feed.head == 3


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


async def test_a_feed_that_was_given_up_takes_no_late_ids(edge: Edge) -> None:
    """The lane of a dead feed ends, rather than ask the archive for ever about a head that moves no more."""
    feed = await edge.channel("lategone")
    feed.reset("epoch")
    with pytest.raises(Unavailable, match="anew"):
        await edge.publisher.record_late(feed, posted("a", old_id("gone")), {})
