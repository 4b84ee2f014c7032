"""Who listens to a feed, arranged so that a flush to thousands of sessions is a loop over their sockets.

A session that has been written all that was flushed sits in a *row*: its descriptor in a flat array, and one
position for all of the row, so a flush touches no object per recipient (which costs more than the system
call, see DESIGN.md). Who cannot be served like that stands aside and is asked flush by flush: a full socket,
a replay, somebody whose membership ends.

A large audience is served a row per turn of the loop; what arrives meanwhile goes out together in the next
round. Between two turns anybody may come, go or rise: a position belongs to its row, and a descriptor leaves
the row before its number can be somebody else's (`Delivery.lost`).
"""

from __future__ import annotations

import asyncio
import os
import time
from array import array
from collections.abc import Iterator
from itertools import chain
from typing import Protocol

from edge import metrics
from edge.core.rest import Rest
from edge.core.ring import Entry
from edge.descriptors import FREE
from edge.fanout import Flush
from edge.turn import this_turn
from shared.ids import Seq, UserId

ROW_SEATS = 250
"""A turn of the loop: some 5 ms where a system call takes 20 us."""

WIDE_SINKS_MIN = 50
"""A flush to this many sessions is written to each at once: few of them have more to say in the same turn.

So is one that is alone in its turn of the loop.
"""


class Sink(Protocol):
    """A session's presence in a channel."""

    def on_flush(self, flush: Flush) -> None:
        """Consecutive events, each once, in order."""

    def on_reset(self, reason: str) -> None:
        """The feed is dead: its numbers are worth nothing any more; activate the channel again."""


class Socket(Protocol):
    """The session's way out, as a row sees it."""

    fd: int
    """What `descriptors` knows it by; 0 if only `write` may be used."""
    is_flowing: bool

    def write(self, frames: bytes) -> None:
        """Whole frames, behind what waits already."""

    def write_rest(self, rest: bytes) -> None:
        """What the kernel did not take of frames that were written past this object."""


class Seated(Sink, Protocol):
    """A sink that can sit in a row."""

    row: Row | None
    seat: int

    @property
    def user(self) -> UserId:
        """Whose session it is."""

    @property
    def wire(self) -> Socket:
        """Where its frames go."""

    def rise(self) -> None:
        """Leave the row, with the row's position as its own."""


class Row:
    """Sinks that are sent the same bytes."""

    __slots__ = ("batch", "fds", "members", "reached", "wires")

    def __init__(self, reached: Seq, *, batch: bool) -> None:
        self.batch = batch
        self.reached = reached
        self.fds = array("i")
        self.members: list[Seated] = []
        self.wires: list[Socket] = []

    def sit(self, member: Seated) -> None:
        """Take the next seat."""
        member.row, member.seat = self, len(self.members)
        self.members.append(member)
        self.wires.append(member.wire)
        self.fds.append(member.wire.fd)

    def leave(self, member: Seated) -> None:
        """Who sat last takes the seat."""
        last, wire, fd = self.members.pop(), self.wires.pop(), self.fds.pop()
        if last is not member:
            self.members[member.seat], self.wires[member.seat], self.fds[member.seat] = last, wire, fd
            last.seat = member.seat
        member.row = None

    def serve(self, flush: Flush, *, at_once: bool) -> None:
        """Write the flush to all who sit here; who cannot take it rises."""
        if flush.removed:
            for member in [member for member in self.members if member.user in flush.removed]:
                member.rise()
        frames = flush.frames(batch=self.batch)
        full = self._write_at_once(frames) if at_once else self._write_with_others(frames)
        for member in full:
            member.rise()
        self.reached = flush.last
        metrics.DELIVERED.inc(len(self.members) * len(flush.entries))

    def _write_at_once(self, frames: bytes) -> list[Seated]:
        """Straight to the sockets. Those that take nothing now."""
        wires, free, write, size = self.wires, FREE, os.write, len(frames)
        full: list[Seated] = []
        for seat, fd in enumerate(self.fds):
            if free[fd]:
                try:
                    taken = write(fd, frames)
                except OSError:  # full, or broken: the transport finds out
                    taken = 0
                if taken != size:
                    wires[seat].write_rest(frames[taken:])
            elif wires[seat].is_flowing:
                wires[seat].write(frames)
            else:
                full.append(self.members[seat])
        return full

    def _write_with_others(self, frames: bytes) -> list[Seated]:
        """Together with what else the sockets are sent in this turn. Those that take nothing now."""
        full: list[Seated] = []
        for seat, wire in enumerate(self.wires):
            if wire.is_flowing:
                wire.write(frames)
            else:
                full.append(self.members[seat])
        return full


class Audience:
    """The sinks of one feed."""

    def __init__(self) -> None:
        self.aside: set[Sink] = set()
        self._rows: list[Row] = []
        self._unflushed: list[Entry] = []
        self._flush: Flush | None = None
        """The round that is under way."""
        self._unserved: list[Row] = []
        self._is_wide = False
        """Whether the last round was to many."""
        self._spent_s = 0.0
        self._rest = Rest()

    def __len__(self) -> int:
        count = len(self.aside)
        for row in self._rows:
            count += len(row.members)
        return count

    def __iter__(self) -> Iterator[Sink]:
        yield from tuple(chain(self.aside, *(row.members for row in self._rows)))

    def attach(self, sink: Sink) -> None:
        """From now on `sink` hears of what is told."""
        self.flush()
        self.aside.add(sink)

    def detach(self, sink: Sink) -> None:
        """It hears nothing more. Who sits has to rise first."""
        self.aside.discard(sink)

    def sit(self, member: Seated, reached: Seq, *, batch: bool) -> None:
        """Somebody who stands aside has been written everything up to `reached`: as far as the rows?"""
        if self._flush is not None or (self._unflushed and reached != self._unflushed[0].seq - 1):
            return
        for row in reversed(self._rows):
            if row.batch is batch and len(row.members) < ROW_SEATS:
                break
        else:
            row = Row(reached, batch=batch)
            self._rows.append(row)
        if not row.members:
            row.reached = reached
        assert row.reached == reached
        self.aside.discard(member)
        row.sit(member)

    def rise(self, member: Seated) -> None:
        """Somebody stands aside from now on."""
        assert member.row is not None
        member.row.leave(member)
        self.aside.add(member)

    def tell(self, entry: Entry) -> None:
        """The next event: all hear of it in a moment."""
        if not (self.aside or self._rows):
            return
        if not self._unflushed and self._flush is None:
            self._turn_soon()
        self._unflushed.append(entry)

    def flush(self) -> None:
        """Hand everything that was told to everybody now."""
        while self._flush is not None or self._unflushed:
            self._serve()

    def _turn_soon(self) -> None:
        """At the end of this turn of the loop, or when the rest from the last round is over."""
        left_s = self._rest.left_s(time.monotonic()) if self._is_wide and self._flush is None else 0.0
        if left_s > 0.0:
            asyncio.get_running_loop().call_later(left_s, self._turn)
        else:
            this_turn().tell(self._turn)

    def _turn(self) -> None:
        if self._flush is None and not self._unflushed:
            return  # somebody could not wait
        self._serve()
        if self._flush is not None or self._unflushed:
            self._turn_soon()

    def _serve(self) -> None:
        """Serve all if they are few; else the next row, and behind the last one those who stand aside."""
        flush = self._flush
        if flush is None:
            entries, self._unflushed = self._unflushed, []
            flush = Flush(entries)
            self._rows = [row for row in self._rows if row.members]
            self._is_wide = len(self) >= WIDE_SINKS_MIN
            if not self._is_wide:
                for row in self._rows:
                    row.serve(flush, at_once=this_turn().is_lone)
                self._serve_aside(flush)
                return
            self._flush, self._unserved, self._spent_s = flush, list(self._rows), 0.0
        began_s = time.monotonic()
        if self._unserved:
            self._unserved.pop().serve(flush, at_once=True)
        if not self._unserved:
            self._flush = None
            self._serve_aside(flush)
        ended_s = time.monotonic()
        self._spent_s += ended_s - began_s
        if self._flush is None:
            self._rest.flushed(ended_s - self._spent_s, ended_s)

    def _serve_aside(self, flush: Flush) -> None:
        for sink in tuple(self.aside):
            sink.on_flush(flush)
