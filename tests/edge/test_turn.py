"""The end of a turn: all that came up leaves together, and nobody keeps the others from it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from edge import descriptors
from edge.audience import Audience, Row
from edge.core.ring import Entry
from edge.descriptors import FREE
from edge.fanout import Flush
from edge.turn import Turn, this_turn
from shared.events import KnownEvent, MessagePosted, Recorded
from shared.ids import ChannelId, ChannelKey, Seq, StreamSeq, UserId, WorkspaceId
from shared.wire_form import wire as wire_form
from tests.support.events import example
from tests.support.feeding import ANN
from tests.support.waiting import eventually


class Heard:
    """A socket that remembers when it was flushed, and may fail."""

    def __init__(self, log: list[str], error: Exception | None = None) -> None:
        self._log = log
        self._error = error

    def flush(self) -> None:
        """Remember it."""
        self._log.append("flushed")
        if self._error is not None:
            raise self._error


def says(log: list[str], word: str, *then: Callable[[], object]) -> Callable[[], None]:
    """A call that is remembered, and makes others."""

    def call() -> None:
        log.append(word)
        for each in then:
            each()

    return call


async def test_what_a_feed_tells_leaves_in_the_same_turn() -> None:
    """Behind all feeds the sockets are flushed, before the loop does anything that comes up later."""
    loop, log = asyncio.get_running_loop(), list[str]()
    turn, socket = Turn(loop), Heard(log)
    later = partial(loop.call_soon, says(log, "later"))
    turn.tell(says(log, "told", partial(turn.flush, socket), later))
    turn.tell(says(log, "told"))
    await eventually(lambda: "later" in log)
    assert log == ["told", "told", "flushed", "later"]


async def test_a_feed_has_one_say_a_turn() -> None:
    """Who has more to tell waits for the next turn, and lets others go before (a large audience)."""
    loop, log = asyncio.get_running_loop(), list[str]()
    turn = Turn(loop)
    between = partial(loop.call_soon, says(log, "between"))
    turn.tell(says(log, "first", between, partial(turn.tell, says(log, "second"))))
    await eventually(lambda: "second" in log)
    assert log == ["first", "between", "second"]


async def test_who_raises_keeps_nobody_from_their_turn() -> None:
    """A bug in one audience or socket is the loop's to report; the others are served."""
    loop, log, reported = asyncio.get_running_loop(), list[str](), list[object]()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    turn, errors = Turn(loop), [ValueError("a feed"), ValueError("a socket")]

    def fail() -> None:
        raise errors[0]

    try:
        turn.tell(fail)
        turn.tell(says(log, "told"))
        turn.flush(Heard(log, errors[1]))
        turn.flush(Heard(log))
        await eventually(lambda: len(log) == 3)
        turn.tell(says(log, "afterwards"))
        await eventually(lambda: log == ["told", "flushed", "flushed", "afterwards"])
    finally:
        loop.set_exception_handler(None)
    assert reported == errors


class Wire:
    """A socket that may be written to past it, and remembers what was not."""

    def __init__(self) -> None:
        self._inside, self._client = socket.socketpair()
        self._client.setblocking(False)
        self.fd = self._inside.fileno()
        self.is_flowing = True
        self.held_back: list[bytes] = []
        descriptors.register(self.fd)
        FREE[self.fd] = True

    def write(self, frames: bytes) -> None:
        """Hold it back for the end of the turn."""
        self.held_back.append(frames)

    def write_rest(self, rest: bytes) -> None:
        """The kernel takes all that is written here."""
        raise AssertionError(rest)

    def read(self) -> bytes:
        """What has reached the client, at most once."""
        try:
            return self._client.recv(1 << 16)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """The descriptor may be somebody else's."""
        FREE[self.fd] = False
        self._inside.close()
        self._client.close()


@dataclass(eq=False)
class Seat:
    """A session's seat in one channel."""

    wire: Wire
    user: UserId = ANN
    row: Row | None = None
    seat: int = 0

    def rise(self) -> None:
        """Its socket never fills."""
        raise AssertionError

    def on_flush(self, flush: Flush) -> None:
        """It does not stand aside."""
        raise AssertionError(flush)

    def on_reset(self, reason: str) -> None:
        """It is not reset here."""
        raise AssertionError(reason)


async def test_one_feed_alone_writes_at_once() -> None:
    """With others it waits: they may have something for the same sockets, and one write does for all."""
    wire, audiences = Wire(), (Audience(), Audience())
    for audience in audiences:
        seat = Seat(wire)
        audience.attach(seat)
        audience.sit(seat, Seq(0), batch=True)
    audiences[0].tell(entry(1, example(MessagePosted)))
    assert b'"seq":1' in await eventually(wire.read)
    assert not wire.held_back
    audiences[0].tell(entry(2, example(MessagePosted)))
    audiences[1].tell(entry(1, example(MessagePosted)))
    await eventually(lambda: len(wire.held_back) == 2)
    assert not wire.read()
    wire.close()


def entry(seq: int, event: KnownEvent) -> Entry:
    """As a feed tells it."""
    recorded = Recorded(ChannelKey(WorkspaceId("w"), ChannelId("c")), Seq(seq), StreamSeq(seq), 1, event)
    return Entry(recorded, wire_form(recorded), 0)


async def test_all_of_a_loop_share_their_turn() -> None:
    """And another loop has its own."""
    assert this_turn() is this_turn()

    async def elsewhere() -> Turn:
        return this_turn()

    other = await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
    assert other is not this_turn()
