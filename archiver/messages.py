"""Pages of messages: which there are, and what became of them, from cache and memory; texts from Parquet.

An answer is the channel at one moment: when, between two awaits, the hot events are looked at. The cache is
read before, for the messages that can be meant, and after, for what became of them; each reading names its
position. If hot events begin behind the first, or the second is beyond them, a commit came between, and all
of it is done again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from archiver.cached_messages import CachedMessages
from archiver.core.hot import HotEvent
from archiver.core.hot_messages import HotMessages, Later, seqs_of
from archiver.core.message_page import Chosen, Said, Wanted, message_of, page_of, wanted_of
from archiver.core.messages import Past, Told, fold
from archiver.history import History
from archiver.partition import PartitionArchive
from archiver.threads import Threads
from shared.archive_manifest import Manifest
from shared.archive_rows import Row, body_of, recorded_of
from shared.erasure import Erasures
from shared.errors import Unavailable
from shared.events import Recorded
from shared.ids import ChannelKey, Seq, StreamSeq
from shared.message_records import Message, MessagesPage, MessagesRequest

ATTEMPTS_MAX = 10
"""A commit takes tens of milliseconds, and one comes between only if it began and ended in a lookup."""


class _Near(NamedTuple):
    """The messages nearest to a page's place, ascending on both sides, and whether a thread's root is one."""

    below: Sequence[Seq]
    above: Sequence[Seq]
    has_root: bool


@dataclass(frozen=True, slots=True)
class _Moment:
    """What is hot of a page's messages, and what is archived, at one moment.

    `seqs` are all that are shown, the root of a thread included; `head` is None if nothing of the channel is
    hot.
    """

    key: ChannelKey
    chosen: Chosen
    seqs: tuple[Seq, ...]
    hot: Mapping[Seq, HotEvent]
    later: Later
    head: Seq | None
    applied: StreamSeq
    manifest: Manifest
    erasures: Erasures


class Messages:
    """Reads one partition's messages."""

    def __init__(self, archive: PartitionArchive, history: History, lookups: Threads) -> None:
        self._archive = archive
        self._history = history
        self._lookups = lookups

    async def page(self, request: MessagesRequest) -> MessagesPage:
        """The messages that a request asks for, as of now; raises `Unavailable`."""
        key = ChannelKey(request.workspace, request.channel)
        wanted = wanted_of(request)
        for _ in range(ATTEMPTS_MAX):
            moment = await self._moment(key, wanted, request.thread)
            found = None if moment is None else await self._lookups.run(self._fold, moment)
            if moment is None or found is None:
                continue
            told, upto = found
            rows = await self._history.events(key, _archived(moment, told), moment.manifest)
            return await self._lookups.run(_page, moment, told, upto, rows, request.thread)
        raise Unavailable("too much is archived meanwhile", retry_after_ms=500)

    async def _moment(self, key: ChannelKey, wanted: Wanted, thread: Seq | None) -> _Moment | None:
        """None if a commit has taken away what the cache did not have yet."""
        if self._is_hot(key, wanted, thread):
            return self._look(key, wanted, thread, _Near((), (), has_root=False))
        ask = partial(_near_in_cache, wanted, thread)
        near, position = await self._lookups.run_together(self._archive.cache.messages, key, ask)
        if self._archive.hot.begins_behind > position:
            return None
        return self._look(key, wanted, thread, near)

    def _is_hot(self, key: ChannelKey, wanted: Wanted, thread: Seq | None) -> bool:
        """Whether all of a page is hot: what is said about it is later, so that is, too."""
        hot = self._archive.hot
        floor = hot.floor(key)
        if floor is None or thread is not None:
            return floor is not None and thread is not None and thread >= floor
        return floor == 1 or len(hot.messages(key).below(wanted.point, wanted.below)) == wanted.below

    def _look(self, key: ChannelKey, wanted: Wanted, thread: Seq | None, cached: _Near) -> _Moment:
        archive = self._archive
        messages = archive.hot.messages(key)
        hot = _near_in_memory(messages, wanted, thread)
        chosen = wanted.choose(sorted({*cached.below, *hot.below}), sorted({*cached.above, *hot.above}))
        seqs = chosen.seqs
        if thread is not None and (cached.has_root or hot.has_root):
            seqs = (thread, *seqs)
        head = archive.hot.head(key)
        return _Moment(
            key=key,
            chosen=chosen,
            seqs=seqs,
            hot={seq: event for seq in seqs for event in archive.hot.between(key, seq, seq)},
            later=messages.later(seqs),
            head=None if head is None else head.seq,
            applied=archive.hot.applied,
            manifest=archive.manifest,
            erasures=archive.erasures,
        )

    def _fold(self, moment: _Moment) -> tuple[Mapping[Seq, Told], Seq] | None:
        """What became of the messages, and up to which event; None if the cache has gone on beyond that."""
        if moment.head is not None and len(moment.hot) == len(moment.seqs):
            return fold(moment.seqs, Past(), moment.later), moment.head

        def ask(past: CachedMessages) -> tuple[Mapping[Seq, Told], Seq] | None:
            if past.position > moment.applied:
                return None
            told = fold(moment.seqs, past, moment.later.behind(past.position))
            return told, past.upto if moment.head is None else moment.head

        return self._archive.cache.messages(moment.key, ask)


def _near_in_cache(wanted: Wanted, thread: Seq | None, past: CachedMessages) -> tuple[_Near, StreamSeq]:
    below = past.below(wanted.point, wanted.below, thread)
    above = past.above(wanted.point, wanted.above, thread)
    return _Near(below, above, thread is not None and past.is_message(thread)), past.position


def _near_in_memory(messages: HotMessages, wanted: Wanted, thread: Seq | None) -> _Near:
    if thread is None:
        below = messages.below(wanted.point, wanted.below)
        return _Near(below, messages.above(wanted.point, wanted.above), has_root=False)
    replies = seqs_of(messages.replies(thread))
    middle = bisect_left(replies, wanted.point)
    below = replies[max(0, middle - wanted.below) : middle]
    above = replies[middle : middle + wanted.above]
    return _Near(below, above, messages.above(thread, 1) == [thread])


def _edits(moment: _Moment) -> dict[Seq, HotEvent]:
    return {hot.recorded.seq: hot for events in moment.later.about.values() for hot in events}


def _archived(moment: _Moment, told: Mapping[Seq, Told]) -> list[Seq]:
    """Which events have to be read from Parquet."""
    edits = _edits(moment)
    edited = [it.edited.seq for it in told.values() if it.edited is not None]
    return [seq for seq in (*moment.seqs, *edited) if seq not in moment.hot and seq not in edits]


def _page(
    moment: _Moment, told: Mapping[Seq, Told], upto: Seq, rows: Mapping[Seq, Row], thread: Seq | None
) -> MessagesPage:
    hot = {**moment.hot, **_edits(moment)}

    def event(seq: Seq) -> Recorded:
        found = hot.get(seq)
        recorded, body = (
            (recorded_of(rows[seq]), body_of(rows[seq])) if found is None else (found.recorded, found.body)
        )
        return moment.erasures.shown(recorded, body)[0]

    messages: dict[Seq, Message] = {}
    for seq in moment.seqs:
        edit = told[seq].edited
        said = Said(event(seq), None if edit is None else event(edit.seq))
        messages[seq] = message_of(said, told[seq])
    return page_of(moment.chosen, messages, upto, None if thread is None else messages.get(thread))
