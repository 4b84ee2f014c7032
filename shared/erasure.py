"""Erasure: which events lose their text by which event of the log, and what is left of them.

An erasure is an event like any other: numbered, kept, told to every member. What it names loses its text
wherever it is stored; numbers, authors, times and ids stay, so that nothing else changes: not a count, not a
membership, not whether an id is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from shared.clock import parse_rfc3339
from shared.events import (
    Event,
    MessageEdited,
    MessageErased,
    MessagePosted,
    MessagesExpired,
    Recorded,
    Unreadable,
    UserErased,
    encode,
)
from shared.ids import ChannelKey, Seq, StreamSeq, UserId
from shared.retention import said_us

SAID = frozenset({"message.posted", "message.edited"})
"""Kinds of events that have a text."""

_ERASING = (MessageErased, UserErased, MessagesExpired)


class Expired(NamedTuple):
    """What is said below the seq `below`, and edits of it; below `since` it had expired already.

    All of it is from before `older_us`, as people count (`shared.retention`).
    """

    since: Seq
    below: Seq
    older_us: int

    def names(self, seq: int, kind: str, ref: int | None) -> bool:
        """Whether an event is part of it."""
        if kind not in SAID:
            return False
        return seq < self.below or (kind == "message.edited" and ref is not None and ref < self.below)


class Erasure(NamedTuple):
    """What one event of a channel, at `stream_seq`, erases below its own number, `before`.

    One of: a message, what a user has said, what has expired.
    """

    key: ChannelKey
    stream_seq: StreamSeq
    before: Seq
    ref: Seq | None = None
    user: UserId | None = None
    expired: Expired | None = None

    def names(self, seq: int, kind: str, author: str, ref: int | None) -> bool:
        """Whether an event of the channel loses its text by it."""
        if seq >= self.before:
            return False
        if self.ref is not None:
            return seq == self.ref or (kind == "message.edited" and ref == self.ref)
        if self.expired is not None:
            return self.expired.names(seq, kind, ref)
        return kind in SAID and author == self.user

    def takes(self, recorded: Recorded) -> bool:
        """Whether an event of the channel loses its text by it."""
        event = recorded.event
        return self.names(recorded.seq, event.kind, event.author, _ref(event))


def _ref(event: Event) -> Seq | None:
    return event.ref if isinstance(event, MessageEdited) else None


class Erasures:
    """Erasures of many channels, so that asking about an event costs the same however many there are.

    Changed by one thread; others may ask meanwhile.
    """

    def __init__(self, erasures: Iterable[Erasure] = ()) -> None:
        self._all: list[Erasure] = []
        self._refs: dict[ChannelKey, dict[int, Seq]] = {}
        self._users: dict[ChannelKey, dict[str, Seq]] = {}
        self._expired: dict[ChannelKey, tuple[Seq, Expired]] = {}
        for erasure in erasures:
            self.add(erasure)

    def __iter__(self) -> Iterator[Erasure]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, key: ChannelKey) -> bool:
        return key in self._refs or key in self._users or key in self._expired

    def add(self, erasure: Erasure) -> None:
        """One more; it is later in the log than all that were added."""
        self._all.append(erasure)
        if erasure.ref is not None:
            self._refs.setdefault(erasure.key, {})[erasure.ref] = erasure.before
        if erasure.user is not None:
            self._users.setdefault(erasure.key, {})[erasure.user] = erasure.before
        if erasure.expired is not None:
            self._expired[erasure.key] = erasure.before, self._joined(erasure.key, erasure.expired)

    def _joined(self, key: ChannelKey, newest: Expired) -> Expired:
        """One that says as much as all of a channel: what expires later takes in what did before."""
        _, before = self._expired.get(key, (Seq(0), newest))
        return Expired(min(before.since, newest.since), newest.below, newest.older_us)

    def expired(self, key: ChannelKey) -> tuple[Seq, Expired] | None:
        """What has expired of a channel, and the seq below which it has."""
        return self._expired.get(key)

    def has_expired(self, recorded: Recorded) -> bool:
        """Whether it did by the time at which it was said: in an epoch that is over numbers say nothing."""
        _, expired = self._expired.get(recorded.key, (Seq(0), None))
        is_old = expired is not None and said_us(recorded) < expired.older_us
        return is_old and recorded.event.kind in SAID

    def named(self, key: ChannelKey) -> tuple[Mapping[int, Seq], Mapping[str, Seq]]:
        """The messages and the users of a channel that are named, each with the seq below which it is."""
        return self._refs.get(key, {}), self._users.get(key, {})

    def name(self, key: ChannelKey, seq: int, kind: str, author: str, ref: int | None) -> bool:
        """Whether an event loses its text by any of them."""
        refs, users = self.named(key)
        if seq < refs.get(seq, 0) or (kind in SAID and seq < users.get(author, 0)):
            return True
        before, expired = self._expired.get(key, (Seq(0), None))
        if expired is not None and seq < before and expired.names(seq, kind, ref):
            return True
        return kind == "message.edited" and ref is not None and seq < refs.get(ref, 0)

    def shown(self, recorded: Recorded, body: bytes) -> tuple[Recorded, bytes]:
        """An event and its body, without its text if that is to be erased."""
        event = recorded.event
        is_named = self.name(recorded.key, recorded.seq, event.kind, event.author, _ref(event))
        return emptied(recorded) if is_named else (recorded, body)


def erasure_of(recorded: Recorded) -> Erasure | None:
    """What an event erases; None for all but the three kinds that do."""
    event = recorded.event
    if not isinstance(event, _ERASING) or recorded.void is not None:
        return None
    if isinstance(event, MessageErased):
        return Erasure(recorded.key, recorded.stream_seq, recorded.seq, ref=event.ref)
    if isinstance(event, UserErased):
        return Erasure(recorded.key, recorded.stream_seq, recorded.seq, user=event.user)
    expired = Expired(event.since, min(event.before, recorded.seq), _time_us(event.older_than))
    return Erasure(recorded.key, recorded.stream_seq, recorded.seq, expired=expired)


def _time_us(text: str) -> int:
    try:
        return parse_rfc3339(text)
    except (ValueError, OverflowError):  # another publisher's: nothing is named by a time then
        return 0


def emptied(recorded: Recorded) -> tuple[Recorded, bytes]:
    """What is left of an event, with its body: itself, if it has no text."""
    event = recorded.event
    if isinstance(event, MessagePosted | MessageEdited):
        event = msgspec.structs.replace(event, text="", erased=True)
    if isinstance(event, Unreadable):
        return recorded, b"erased"
    return msgspec.structs.replace(recorded, event=event), encode(event)
