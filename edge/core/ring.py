"""The newest events of one channel, encoded, for those who are a little behind."""

from __future__ import annotations

from collections import deque

from shared.erasure import Erasure, emptied
from shared.events import Recorded
from shared.ids import Seq, StreamSeq
from shared.wire_form import wire

ENTRY_BYTES = 700
"""What an entry costs beside its body: 646 with a message (measured 2026-11-27)."""

ENTRIES_MIN = 32


class Entry:
    """An event as it goes to clients: `body` is encoded once for every recipient (P20).

    `messages` counts the channel's messages up to and including this event, for unread counts (P15).
    """

    __slots__ = ("body", "messages", "recorded", "seq", "stream_seq")

    def __init__(self, recorded: Recorded, body: bytes, messages: int) -> None:
        self.recorded = recorded
        self.body = body
        self.messages = messages
        self.seq = recorded.seq  # here as well, because every delivery asks for it
        self.stream_seq = recorded.stream_seq


class Budget:
    """What all rings of an edge may hold together. When it is exceeded, each ring that grows gives way."""

    __slots__ = ("bytes_max", "held_bytes")

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.held_bytes = 0

    @property
    def is_exceeded(self) -> bool:
        """Whether the rings hold more than they may."""
        return self.held_bytes > self.bytes_max


class Ring:
    """Consecutive entries up to the head; the oldest leave when there are too many or too large.

    Beyond the budget that all rings share, a ring that grows leaves two for one until it has
    `ENTRIES_MIN`: what somebody waits for right now is among those.
    """

    def __init__(self, head: Seq, *, entries_max: int, bytes_max: int, budget: Budget | None = None) -> None:
        self._entries: deque[Entry] = deque(maxlen=entries_max)
        self._head = head
        self._bytes = 0
        self._bytes_max = bytes_max
        self._budget = budget or Budget(bytes_max * 2 + entries_max * ENTRY_BYTES)

    @property
    def floor(self) -> Seq:
        """The lowest seq that is held; head + 1 if none is."""
        return Seq(self._head - len(self._entries) + 1)

    def append(self, entry: Entry) -> None:
        """Add the event behind the head."""
        assert entry.seq == self._head + 1, (entry.seq, self._head)
        if len(self._entries) == self._entries.maxlen:
            self._evict()
        self._entries.append(entry)
        self._head = entry.seq
        self._bytes += len(entry.body)
        self._budget.held_bytes += len(entry.body) + ENTRY_BYTES
        while self._bytes > self._bytes_max and len(self._entries) > 1:
            self._evict()
        for _ in range(2):
            if self._budget.is_exceeded and len(self._entries) > ENTRIES_MIN:
                self._evict()

    def erase(self, erasure: Erasure) -> None:
        """Leave of what an erasure names what is left of it: also who has yet to send it gets no more."""
        for entry in self._entries:
            if erasure.takes(entry.recorded):
                entry.recorded = emptied(entry.recorded)[0]
                body = wire(entry.recorded)
                self._bytes += len(body) - len(entry.body)
                self._budget.held_bytes += len(body) - len(entry.body)
                entry.body = body

    def clear(self) -> None:
        """Hold nothing any more; the head stays."""
        while self._entries:
            self._evict()

    def since(self, after: Seq) -> list[Entry] | None:
        """Everything above `after`, oldest first; None if the ring no longer reaches back that far."""
        if after + 1 < self.floor:
            return None
        missing = max(0, self._head - after)
        return [self._entries[i] for i in range(len(self._entries) - missing, len(self._entries))]

    def get(self, seq: Seq) -> Entry | None:
        """The entry with this seq, if it is held."""
        index = seq - self.floor
        return self._entries[index] if 0 <= index < len(self._entries) else None

    def find(self, stream_seq: StreamSeq) -> Entry | None:
        """The entry at this position of the stream, if it is held."""
        for entry in reversed(self._entries):
            if entry.stream_seq <= stream_seq:
                return entry if entry.stream_seq == stream_seq else None
        return None

    def _evict(self) -> None:
        size = len(self._entries.popleft().body)
        self._bytes -= size
        self._budget.held_bytes -= size + ENTRY_BYTES
