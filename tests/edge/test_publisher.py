"""One id, one message, for ever: fresh ids, which the duplicate window decides."""

from __future__ import annotations

import asyncio

import pytest

from edge.core.recording import Recording
from edge.feed import Feed
from edge.publisher import FRESHNESS
from shared.bus import PubAck
from shared.errors import ClockSkew, Conflict, Forbidden, OutcomeUnknown, ParleyError
from shared.events import KnownEvent, MemberLeft
from shared.ids import StreamSeq, new_command_id
from tests.support.recording import ANN, Edge, now_ms, old_id, posted
from tests.support.waiting import eventually


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
    with pytest.raises(Conflict) as refused:
        await edge.publisher.record(feed, posted("b", event.id))
    assert refused.value.seq == 2
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
    with pytest.raises(Conflict) as refused:
        await edge.publisher.record(feed, posted("b", event.id))
    assert refused.value.seq == first.seq


async def test_our_own_event_is_not_read_again(edge: Edge) -> None:
    """The feed takes what was published under the same bytes, and keeps it no longer than that."""
    feed = await edge.channel("own")
    recorded: asyncio.Future[Recording | ParleyError] = asyncio.get_running_loop().create_future()
    event = posted("a")
    edge.publisher.record_fresh(feed, event, {}, recorded.set_result)
    assert feed._own
    answer = await recorded
    assert isinstance(answer, Recording)
    entry = feed.ring.get(answer.seq)
    assert entry is not None
    assert entry.recorded.event is event
    assert not feed._own


async def test_id_from_the_future_is_refused(edge: Edge) -> None:
    """An id that is too far ahead of the server is refused and leaves no trace."""
    feed = await edge.channel("future")
    with pytest.raises(ClockSkew):
        await edge.publisher.record(feed, posted("a", new_command_id(now_ms() + FRESHNESS.limit_ms + 5_000)))
    assert feed.head == 1


async def test_void_event_is_forbidden(edge: Edge) -> None:
    """An event that lost a race against its author's removal is recorded as void: the sender hears so."""
    feed = await edge.channel("void")
    await edge.publisher.record(feed, MemberLeft(id=new_command_id(now_ms()), author=ANN))
    with pytest.raises(Forbidden, match="not a member"):
        await edge.publisher.record(feed, posted("too late"))
    assert feed.head == 3


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
        await fresh(edge, feed, posted("a", new_command_id(now_ms() + FRESHNESS.limit_ms + 5_000)))
    for number in range(40):  # a duplicate of what has left the ring
        await fresh(edge, feed, posted(str(number)))
    assert await fresh(edge, feed, event) == first._replace(duplicate=True)
    await fresh(edge, feed, MemberLeft(id=new_command_id(now_ms()), author=ANN))
    with pytest.raises(Forbidden):
        await fresh(edge, feed, posted("too late"))


@pytest.mark.usefixtures("archiver")
async def test_an_id_that_has_become_late_is_looked_up(edge: Edge) -> None:
    """It was fresh when its session read it, and had to wait: then the window is not asked."""
    feed = await edge.channel("became-late")
    event = posted("a", old_id("became-late"))
    first = await fresh(edge, feed, event)
    assert (first.seq, first.duplicate) == (2, False)
    assert await fresh(edge, feed, event) == first._replace(duplicate=True)
    with pytest.raises(Conflict):
        await fresh(edge, feed, posted("b", event.id))


async def test_an_ack_whose_position_is_another_event_is_none(edge: Edge) -> None:
    """A log that our feed has not counted took the event: no number is told, and the log is doubted (P7)."""
    feed = await edge.channel("foreign-ack")
    await edge.publisher.record(feed, posted("a"))
    first = await edge.publisher.record(feed, posted("b"))
    entry = feed.ring.get(first.seq)
    assert entry is not None
    await eventually(lambda: edge.feeds.epochs.is_proven(feed.partition))
    acked = PubAck("", entry.stream_seq, duplicate=False, retried=False)
    with pytest.raises(OutcomeUnknown, match="replaced"):
        await edge.publisher._settled(feed, posted("c"), acked)
    assert not edge.feeds.epochs.is_proven(feed.partition)
    await eventually(lambda: edge.feeds.epochs.is_proven(feed.partition))


async def test_whoever_waits_hears_at_once_that_the_feed_was_given_up(edge: Edge) -> None:
    """What was recorded is not known any more by its number; a new feed will tell."""
    feed = await edge.channel("given-up")
    waiting = asyncio.create_task(feed.settled(StreamSeq(feed.stream_seq + 1_000), 600))
    await asyncio.sleep(0)
    feed.reset("epoch")
    with pytest.raises(OutcomeUnknown, match="replaced"):
        await waiting
