"""The newest events of one channel, encoded, for those who are a little behind."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from shared.events import Recorded
from shared.ids import Seq, StreamSeq


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as it goes to clients: `body` is encoded once for every recipient (P20).

    `messages` counts the channel's messages up to and including this event, for unread counts (P15).
    """

    recorded: Recorded
    body: bytes
    messages: int
    seq: Seq = field(init=False)
    """Position in the channel's log: here as well, because every delivery asks for it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "seq", self.recorded.seq)

    @property
    def stream_seq(self) -> StreamSeq:
        """Position in the stream."""
        return self.recorded.stream_seq


class Ring:
    """Consecutive entries up to the head; the oldest leave when there are too many or too large."""

    def __init__(self, head: Seq, *, entries_max: int, bytes_max: int) -> None:
        self._entries: deque[Entry] = deque(maxlen=entries_max)
        self._head = head
        self._bytes = 0
        self._bytes_max = bytes_max

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
        while self._bytes > self._bytes_max and len(self._entries) > 1:
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
        self._bytes -= len(self._entries.popleft().body)
