"""Lanes: in order within a channel, side by side between channels, bounded for the session (P13)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from functools import partial

import pytest

from edge.core.recording import Recording
from edge.lanes import Lanes, Over, Started
from shared.ids import ChannelId, Seq
from tests.support.waiting import eventually

C, OTHER = ChannelId("c"), ChannelId("other")


class Desk:
    """Decides about items when told to, and writes down what began and ended."""

    def __init__(self, *, overlaps: str = "", undecided: str = "") -> None:
        self.notes: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self._overlaps = overlaps
        self._undecided = undecided

    def work(self, item: str) -> Started:
        """Decide; items in `undecided` are over with that."""
        self.notes.append(f"decide {item}")
        if item in self._undecided:
            return None
        if item not in self._overlaps:
            return partial(self._record, item)
        future: asyncio.Future[Recording] = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(self._record(item))
        task.add_done_callback(lambda _: future.set_result(Recording(Seq(1), 0, duplicate=False)))
        return future

    def open(self, *items: str) -> None:
        """Let the second steps of these items end."""
        for item in items:
            self._gate(item).set()

    async def _record(self, item: str, _: object = None) -> None:
        self.notes.append(f"record {item}")
        await self._gate(item).wait()
        self.notes.append(f"end {item}")

    def _gate(self, item: str) -> asyncio.Event:
        return self.gates.setdefault(item, asyncio.Event())


def lanes_of(desk: Desk, in_flight_max: int = 10) -> Lanes[str]:
    """Lanes that work at this desk."""
    return Lanes(desk.work, in_flight_max=in_flight_max, spawn=asyncio.ensure_future)


async def test_a_channel_records_one_after_the_other() -> None:
    """The second command of a channel is decided only after the first is durable."""
    desk = Desk()
    lanes = lanes_of(desk)
    lanes.put(C, "a")
    lanes.put(C, "b")
    await eventually(lambda: "record a" in desk.notes)
    assert desk.notes == ["decide a", "record a"]
    desk.open("a", "b")
    await eventually(lambda: "end b" in desk.notes)
    assert desk.notes == ["decide a", "record a", "end a", "decide b", "record b", "end b"]


async def test_channels_do_not_wait_for_each_other() -> None:
    """A slow channel holds up nobody else."""
    desk = Desk()
    lanes = lanes_of(desk)
    lanes.put(C, "a")
    lanes.put(OTHER, "b")
    desk.open("b")
    await eventually(lambda: "end b" in desk.notes)
    assert "end a" not in desk.notes
    desk.open("a")
    await eventually(lambda: "end a" in desk.notes)


async def test_steps_that_overlap_do_not_wait() -> None:
    """Imports follow one another without waiting; what comes behind them waits for all."""
    desk = Desk(overlaps="ab")
    lanes = lanes_of(desk)
    for item in ("a", "b", "c"):
        lanes.put(C, item)
    await eventually(lambda: "decide c" in desk.notes and "record b" in desk.notes)
    assert "record c" not in desk.notes
    desk.open("b")
    await eventually(lambda: "end b" in desk.notes)
    assert "record c" not in desk.notes
    desk.open("a", "c")
    await eventually(lambda: "end c" in desk.notes)


async def test_a_refused_command_has_no_second_step() -> None:
    """The lane goes on with the next."""
    desk = Desk(undecided="a")
    lanes = lanes_of(desk)
    lanes.put(C, "a")
    lanes.put(C, "b")
    desk.open("b")
    await eventually(lambda: "end b" in desk.notes)
    assert "record a" not in desk.notes


async def test_a_closed_session_begins_nothing() -> None:
    """What waits behind others stays where it is when the session has ended."""
    desk = Desk(overlaps="a")
    lanes = lanes_of(desk)
    lanes.put(C, "a")
    lanes.put(C, "b")
    lanes.close()
    desk.open("a", "b")
    await eventually(lambda: "end a" in desk.notes)
    await asyncio.sleep(0)
    assert "record b" not in desk.notes


async def test_a_bug_ends_the_session() -> None:
    """What goes wrong while a queued command is decided reaches the session's tasks, not only the log."""
    spawned: list[asyncio.Task[None]] = []

    def spawn(work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        spawned.append(asyncio.ensure_future(work))
        return spawned[-1]

    desk = Desk()

    def work(item: str) -> Started:
        if item == "b":
            raise RuntimeError("a bug")
        return desk.work(item)

    lanes: Lanes[str] = Lanes(work, in_flight_max=10, spawn=spawn)
    lanes.put(C, "a")
    lanes.put(C, "b")
    desk.open("a")
    await eventually(lambda: len(spawned) == 2 and spawned[-1].done())
    assert isinstance(spawned[-1].exception(), RuntimeError)


async def test_a_session_is_bounded() -> None:
    """At the bound nothing more is taken until something has ended, whatever the channel."""
    desk = Desk()
    lanes = lanes_of(desk, in_flight_max=2)
    lanes.put(C, "a")
    assert not lanes.is_full
    lanes.put(OTHER, "b")
    assert lanes.is_full
    with pytest.raises(AssertionError):
        lanes.put(C, "c")
    waiting = asyncio.ensure_future(lanes.room())
    await eventually(lambda: "record b" in desk.notes)
    assert not waiting.done()
    desk.open("b")
    await asyncio.wait_for(waiting, 5)
    lanes.put(OTHER, "c")
    desk.open("a", "c")
    await eventually(lambda: {"end a", "end c"} <= set(desk.notes))


async def test_the_next_begins_where_the_last_is_told_to_be_over() -> None:
    """A command that calls back is followed in that call, not a turn of the loop later."""
    begun: list[tuple[str, Over]] = []

    def begin(item: str, over: Over) -> bool:
        begun.append((item, over))
        return False

    lanes: Lanes[str] = Lanes(lambda item: partial(begin, item), in_flight_max=2, spawn=asyncio.ensure_future)
    lanes.put(C, "a")
    lanes.put(C, "b")
    assert [item for item, _ in begun] == ["a"]
    assert lanes.is_full
    begun[0][1]()
    assert [item for item, _ in begun] == ["a", "b"]
    assert not lanes.is_full
    begun[1][1]()
    lanes.put(C, "c")
    assert [item for item, _ in begun] == ["a", "b", "c"]


async def test_who_is_over_may_say_so_at_once() -> None:
    """A command may call back before the one who began it knows that it is begun."""
    begun: list[str] = []

    def begin(item: str, over: Over) -> bool:
        begun.append(item)
        if item != "a":
            over()
        else:
            first.append(over)
        return False

    first: list[Over] = []
    lanes: Lanes[str] = Lanes(lambda item: partial(begin, item), in_flight_max=3, spawn=asyncio.ensure_future)
    for item in ("a", "b", "c"):
        lanes.put(C, item)
    first[0]()
    lanes.put(C, "d")
    assert begun == ["a", "b", "c", "d"]
    assert not lanes.is_full


async def test_any_number_may_be_over_at_once() -> None:
    """Commands that are refused where they begin do not nest, however many are queued."""
    count = 5 * sys.getrecursionlimit()
    first: list[Over] = []
    begun: list[int] = []

    def begin(item: int, over: Over) -> bool:
        begun.append(item)
        if item == 0:
            first.append(over)
        return item > 0

    lanes: Lanes[int] = Lanes(
        lambda item: partial(begin, item), in_flight_max=count, spawn=asyncio.ensure_future
    )
    for item in range(count):
        lanes.put(C, item)
    assert begun == [0]
    first[0]()
    assert begun == list(range(count))
    assert not lanes.is_full


async def test_a_bug_where_the_next_begins_ends_the_session() -> None:
    """Who tells that a command is over is not hit by what goes wrong with the one behind it."""
    spawned: list[asyncio.Task[None]] = []
    first: list[Over] = []

    def spawn(work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        spawned.append(asyncio.ensure_future(work))
        return spawned[-1]

    def begin(over: Over) -> bool:
        if first:
            raise RuntimeError("a bug")
        first.append(over)
        return False

    lanes: Lanes[str] = Lanes(lambda _: begin, in_flight_max=10, spawn=spawn)
    lanes.put(C, "a")
    lanes.put(C, "b")
    first[0]()
    await eventually(lambda: len(spawned) == 1 and spawned[0].done())
    assert isinstance(spawned[0].exception(), RuntimeError)
