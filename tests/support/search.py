"""Messages for the tests of search: logs of channels in memory, put into an index, and asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from archiver.core.query import parse
from archiver.search.finder import Finder
from archiver.search.index import At, SearchIndex
from archiver.search.plan import Reader
from shared import events as e
from shared.events import Recorded
from shared.ids import ChannelId, Epoch, Seq, StreamSeq, UserId
from shared.search import SearchPlace, SearchReply
from tests.support.archive import ALICE, WORKSPACE, created, key_of, posted

EPOCH = Epoch("e1")
BEGAN_US = 1_790_000_000_000_000
TIMEOUT_S = 60.0


class Log:
    """A partition's log: events get their numbers as they are written."""

    def __init__(self) -> None:
        self.events: list[Recorded] = []
        self._seqs: dict[str, int] = {}

    def write(
        self, channel: str, event: e.KnownEvent, at_us: int | None = None, void: str | None = None
    ) -> Seq:
        """One event; its number in the channel."""
        if channel not in self._seqs and not isinstance(event, e.ChannelCreated):
            self.write(channel, created())
        seq = Seq(self._seqs.get(channel, 0) + 1)
        self._seqs[channel] = seq
        stream_seq = StreamSeq(len(self.events) + 1)
        when_us = BEGAN_US + stream_seq * 1_000_000 if at_us is None else at_us
        self.events.append(Recorded(key_of(channel), seq, stream_seq, when_us, event, void))
        return seq

    def say(self, channel: str, text: str, author: str = "alice", **fields: object) -> Seq:
        """One message."""
        return self.write(channel, posted(text, UserId(author), **fields))

    def edit(self, channel: str, ref: int, text: str) -> Seq:
        """A new text."""
        event = e.MessageEdited(id=posted("").id, author=ALICE, ref=Seq(ref), ref_author=ALICE, text=text)
        return self.write(channel, event)

    def delete(self, channel: str, ref: int) -> Seq:
        """A tombstone."""
        event = e.MessageDeleted(id=posted("").id, author=ALICE, ref=Seq(ref), ref_author=ALICE)
        return self.write(channel, event)

    def erase(self, channel: str, ref: int | None = None, *, user: str = "alice") -> Seq:
        """A message, or all of a user, loses its text."""
        head = {"id": posted("").id, "author": UserId("operator")}
        event = (
            e.UserErased(**head, user=UserId(user)) if ref is None else e.MessageErased(**head, ref=Seq(ref))
        )
        return self.write(channel, event)

    def expire(self, channel: str, before: int, since: int = 1) -> Seq:
        """What was said below a number has expired."""
        head = {"id": posted("").id, "author": UserId("parley")}
        event = e.MessagesExpired(
            **head, since=Seq(since), before=Seq(before), older_than="2026-01-01T00:00:00Z"
        )
        return self.write(channel, event)

    def react(
        self, channel: str, ref: int, emoji: str = "👍", *, author: str = "bob", back: bool = False
    ) -> Seq:
        """A reaction, or taking it back."""
        kind = e.ReactionRemoved if back else e.ReactionAdded
        return self.write(channel, kind(id=posted("").id, author=UserId(author), ref=Seq(ref), emoji=emoji))

    @property
    def at(self) -> At:
        """Its end."""
        return At(self.events[-1].stream_seq, self.events[-1].at_us)


def record(index: SearchIndex, log: Log, size: int = 10_000) -> None:
    """Bring an index up to a log, so many events at once."""
    while (position := index.at().stream_seq) < len(log.events):
        batch = log.events[position : position + size]
        assert index.record(position, batch, At(batch[-1].stream_seq, batch[-1].at_us))


def indexed(directory: Path, log: Log, size: int = 10_000) -> SearchIndex:
    """The index of a log."""
    index = SearchIndex(directory / "p00.search.sqlite", EPOCH)
    record(index, log, size)
    return index


def ask(
    index: SearchIndex,
    text: str,
    *,
    user: str = "alice",
    readable: Iterable[str] | None = None,
    limit: int = 100,
    after: SearchPlace | None = None,
    sort: str = "newest",
    zone: str = "UTC",
    upto: int = 2**60,
) -> SearchReply:
    """One question by somebody who may read these channels; None: all."""
    if readable is None:
        with index.reading() as reader:
            readable = [channel for (channel,) in reader.execute("SELECT channel FROM channels")]
    reading = Reader(WORKSPACE, UserId(user), frozenset(ChannelId(it) for it in readable))
    finder = Finder(index, TIMEOUT_S)
    query = parse(text, zone)
    if sort == "relevant":
        return finder.relevant(query, reading, StreamSeq(upto), limit)
    return finder.newest(query, reading, StreamSeq(upto), limit, after)


def found(index: SearchIndex, text: str, **fields: object) -> list[str]:
    """The places that a question finds, as `channel/seq`, in their order."""
    reply = ask(index, text, **fields)  # type: ignore[arg-type]
    return places(reply)


def places(reply: SearchReply) -> list[str]:
    """Hits as `channel/seq`."""
    return [f"{hit.channel}/{hit.seq}" for hit in reply.hits]


def texts_of(log: Log, hits: Sequence[str]) -> list[str]:
    """What was posted at these places."""
    by_place = {f"{it.key.channel}/{it.seq}": it.event for it in log.events}
    return [event.text for hit in hits if isinstance(event := by_place[hit], e.MessagePosted)]
