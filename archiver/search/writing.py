"""What a run of events changes in the index.

Later texts are gathered first, so that a message is written once, however often it was edited within the run;
then all is written in the order of the log, because FTS5 flushes whenever it has to go back. A message is
found by its place in the log for ever: an edit replaces its terms there, a deletion or an erasure leaves a
row without terms, by which cursors and late reactions find the place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import apsw

from archiver.core.folding import fold
from archiver.core.match import HOLDS, THREAD, author_term, channel_term
from archiver.core.terms import has_file, has_link, indexed
from shared import events as e
from shared.clock import parse_rfc3339
from shared.events import Recorded
from shared.ids import ChannelKey, UserId

DELETED = 1
REACTED = 2
ERASED = 4
"""And deleted: whether its terms had to be removed from the file is known, and need not be done again."""

HOUR_MS = 3_600_000
NUMBERS_KEPT = 50_000
"""Channels, and authors, whose number the writer remembers."""

Place: TypeAlias = tuple[int, int]
"""A channel's number, and a seq in it."""


@dataclass(slots=True)
class Numbers:
    """Numbers that stand for channels and authors, as far as they were met."""

    channels: dict[ChannelKey, int] = field(default_factory=dict)
    authors: dict[UserId, int] = field(default_factory=dict)


class Said(NamedTuple):
    """What a message says from the event with this seq on; None: nothing any more."""

    text: str | None
    seq: int
    erased: bool = False


Forgotten = dict[tuple[int, int], int]
"""By channel and author: below which seq all that they have said is erased."""

EVERYBODY = 0
"""Stands for all authors, none of whom has this number: what has expired was said by any of them."""


def apply(writer: apsw.Connection, numbers: Numbers, events: Iterable[Recorded]) -> int:
    """Write what the events change; void ones change nothing.

    How many messages that were written before are erased: their terms are still somewhere in the file.
    """
    posted: list[Recorded] = []
    others: list[Recorded] = []
    for recorded in events:
        if recorded.void is None:
            (posted if type(recorded.event) is e.MessagePosted else others).append(recorded)
    later = _later(writer, numbers, others)
    forgotten = _forgotten(writer, numbers, others)
    new = _new(writer, numbers, posted, later, forgotten)
    _change_old(writer, {place: said for place, said in later.items() if not said.erased})
    erased = _erase(writer, [place for place, said in later.items() if said.erased], forgotten)
    writer.executemany("INSERT INTO words (rowid, text, meta) VALUES (?, ?, ?)", new.words)
    writer.executemany("INSERT INTO docs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", new.docs)
    writer.executemany(_INSERT_HOURS, [(hour, lo, hi) for hour, (lo, hi) in new.hours.items()])
    for recorded in others:
        match recorded.event:
            case e.ReactionAdded() | e.ReactionRemoved():
                _react(writer, numbers, recorded, recorded.event)
            case e.ChannelCreated() | e.ChannelRenamed() as named:
                row = folded_name(named.name), _channel(writer, numbers, recorded.key)
                writer.execute("INSERT OR IGNORE INTO names VALUES (?, ?)", row)
    return erased


_INSERT_HOURS = (
    "INSERT INTO hours VALUES (?, ?, ?)"
    " ON CONFLICT DO UPDATE SET lo = min(lo, excluded.lo), hi = max(hi, excluded.hi)"
)


@dataclass(slots=True)
class _New:
    """Rows of new messages; `hours`: between which places the messages of each hour lie."""

    words: list[tuple[int, str, str]] = field(default_factory=list)
    docs: list[tuple[int | None, ...]] = field(default_factory=list)
    hours: dict[int, tuple[int, int]] = field(default_factory=dict)


def _later(writer: apsw.Connection, numbers: Numbers, others: Sequence[Recorded]) -> dict[Place, Said]:
    """What the others make of messages: the last edit counts (P22), what is deleted or erased stays so."""
    later: dict[Place, Said] = {}
    for recorded in others:
        event = recorded.event
        if not isinstance(event, _CHANGES) or event.ref >= recorded.seq:
            continue
        place = _channel(writer, numbers, recorded.key), event.ref
        erased = isinstance(event, e.MessageErased) or (isinstance(event, e.MessageEdited) and event.erased)
        text = event.text if isinstance(event, e.MessageEdited) and not erased else None
        if erased or place not in later or later[place].text is not None:
            later[place] = Said(text, recorded.seq, bool(erased))
    return later


_CHANGES = e.MessageEdited | e.MessageDeleted | e.MessageErased


def _forgotten(writer: apsw.Connection, numbers: Numbers, others: Sequence[Recorded]) -> Forgotten:
    forgotten: Forgotten = {}
    for it in others:
        match it.event:
            case e.UserErased(user=user):
                place = _channel(writer, numbers, it.key), _author(writer, numbers, user)
                forgotten[place] = it.seq
            case e.MessagesExpired(before=before):
                place = _channel(writer, numbers, it.key), EVERYBODY
                forgotten[place] = max(forgotten.get(place, 0), min(before, it.seq))
    return forgotten


def _new(
    writer: apsw.Connection,
    numbers: Numbers,
    posted: Sequence[Recorded],
    later: dict[Place, Said],
    forgotten: Forgotten,
) -> _New:
    """Rows of what was posted. One function for all: two calls a message less are a tenth of its cost."""
    new = _New()
    words, docs, hours = new.words, new.docs, new.hours
    channels, authors = numbers.channels, numbers.authors
    for at in posted:
        event, seq, stream_seq = at.event, at.seq, at.stream_seq
        assert isinstance(event, e.MessagePosted)
        channel = channels.get(at.key) or _channel(writer, numbers, at.key)
        author = authors.get(event.author) or _author(writer, numbers, event.author)
        at_ms = at.at_us // 1000
        happened_ms = None if event.imported is None else _happened_ms(event.imported.at)
        text: str | None = event.text
        text_seq, flags = None, 0
        if later and (said := later.pop((channel, seq), None)) is not None:
            text, text_seq, is_erased = said
            flags = 0 if text is not None else DELETED | ERASED if is_erased else DELETED
        if event.erased or (forgotten and seq < _gone_below(forgotten, channel, author)):
            text, flags = None, DELETED | ERASED
        if text is not None:
            words.append((stream_seq, indexed(text), _meta(channel, author, event.thread, text)))
        docs.append((stream_seq, channel, seq, author, at_ms, happened_ms, event.thread, text_seq, flags))
        hour = (at_ms if happened_ms is None else happened_ms) // HOUR_MS
        hours[hour] = hours[hour][0] if hour in hours else stream_seq, stream_seq
    return new


def _gone_below(forgotten: Forgotten, channel: int, author: int) -> int:
    return max(forgotten.get((channel, author), 0), forgotten.get((channel, EVERYBODY), 0))


def _change_old(writer: apsw.Connection, later: dict[Place, Said]) -> None:
    """What is said now in messages from before the run, where they are messages."""
    found: list[tuple[Any, ...]] = []
    for place, said in later.items():
        found += [(*row, place[0], said) for row in writer.execute(_OLD, place)]
    for stream_seq, author, thread, channel, said in sorted(found):
        writer.execute("DELETE FROM words WHERE rowid = ?", (stream_seq,))
        flags = "flags" if said.text is not None else DELETED
        if said.text is not None:
            words = stream_seq, indexed(said.text), _meta(channel, author, thread, said.text)
            writer.execute("INSERT INTO words (rowid, text, meta) VALUES (?, ?, ?)", words)
        else:
            writer.execute("DELETE FROM reactions WHERE doc = ?", (stream_seq,))
        sql = f"UPDATE docs SET text_seq = ?, flags = {flags} WHERE stream_seq = ?"  # noqa: S608
        writer.execute(sql, (said.seq, stream_seq))


_OLD = f"""
SELECT stream_seq, author, thread FROM docs WHERE channel = ? AND seq = ? AND NOT flags & {DELETED}
"""  # noqa: S608


def _erase(writer: apsw.Connection, places: Sequence[Place], forgotten: Forgotten) -> int:
    """Take the terms of messages from before the run out; how many had not been erased already."""
    found = [doc for place in places for (doc,) in writer.execute(_UNERASED, place)]
    found += [
        doc
        for (channel, author), before in forgotten.items()
        for (doc,) in writer.execute(_UNERASED_OF, (channel, before, author, author == EVERYBODY))
    ]
    for doc in sorted(found):
        writer.execute("DELETE FROM words WHERE rowid = ?", (doc,))
        writer.execute("DELETE FROM reactions WHERE doc = ?", (doc,))
        writer.execute("UPDATE docs SET flags = ? WHERE stream_seq = ?", (DELETED | ERASED, doc))
    return len(found)


_UNERASED = f"SELECT stream_seq FROM docs WHERE channel = ? AND seq = ? AND NOT flags & {ERASED}"  # noqa: S608
_UNERASED_OF = f"""
SELECT stream_seq FROM docs WHERE channel = ? AND seq < ? AND (author = ? OR ?) AND NOT flags & {ERASED}
"""  # noqa: S608


def _react(
    writer: apsw.Connection,
    numbers: Numbers,
    recorded: Recorded,
    event: e.ReactionAdded | e.ReactionRemoved,
) -> None:
    if event.ref >= recorded.seq:
        return
    place = _channel(writer, numbers, recorded.key), event.ref
    for doc, _, _ in writer.execute(_OLD, place).fetchall():
        reaction = (
            doc,
            numbers.authors.get(event.author) or _author(writer, numbers, event.author),
            event.emoji,
        )
        if isinstance(event, e.ReactionAdded):
            writer.execute("INSERT OR IGNORE INTO reactions VALUES (?, ?, ?)", reaction)
            flags = f"flags | {REACTED}"
        else:
            writer.execute("DELETE FROM reactions WHERE doc = ? AND author = ? AND emoji = ?", reaction)
            left = writer.execute("SELECT 1 FROM reactions WHERE doc = ? LIMIT 1", (doc,)).fetchall()
            flags = f"flags | {REACTED}" if left else f"flags & ~{REACTED}"
        writer.execute(f"UPDATE docs SET flags = {flags} WHERE stream_seq = ?", (doc,))  # noqa: S608


def _meta(channel: int, author: int, thread: int | None, text: str) -> str:
    """Where it was said, by whom, and what it holds, as terms."""
    meta = f"{channel_term(channel)} {author_term(author)}"
    if thread is not None:
        meta += f" {THREAD}"
    if has_link(text):
        meta += f" {HOLDS['link']}"
        if has_file(text):
            meta += f" {HOLDS['file']}"
    return meta


def folded_name(name: str) -> str:
    """A name as it is compared."""
    return fold(name).lower().strip()


def _happened_ms(text: str) -> int | None:
    try:
        return parse_rfc3339(text) // 1000
    except (ValueError, OverflowError):  # the edge checks it, another publisher may not
        return None


def _channel(writer: apsw.Connection, numbers: Numbers, key: ChannelKey) -> int:
    if key not in numbers.channels:
        writer.execute("INSERT OR IGNORE INTO channels (workspace, channel) VALUES (?, ?)", key)
        number = writer.execute("SELECT no FROM channels WHERE workspace = ? AND channel = ?", key).get
        if len(numbers.channels) >= NUMBERS_KEPT:
            numbers.channels.clear()
        numbers.channels[key] = int(number)
    return numbers.channels[key]


def _author(writer: apsw.Connection, numbers: Numbers, author: UserId) -> int:
    if author not in numbers.authors:
        row = author, folded_name(author)
        writer.execute("INSERT OR IGNORE INTO authors (author, folded) VALUES (?, ?)", row)
        number = writer.execute("SELECT no FROM authors WHERE author = ?", (author,)).get
        if len(numbers.authors) >= NUMBERS_KEPT:
            numbers.authors.clear()
        numbers.authors[author] = int(number)
    return numbers.authors[author]
