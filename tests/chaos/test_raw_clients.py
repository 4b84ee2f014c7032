"""The raw clients write down what they are told, ask again as the protocol says, and know wrong clocks."""

from __future__ import annotations

import random
import time
import uuid

from tests.chaos.raw_reader import RawReader
from tests.chaos.raw_writer import RawWriter, uuid7
from tests.chaos.silence import Silences
from tests.chaos.testimony import Record

CHANNEL = {"id": "busy-0", "epoch": "e", "head": 4}


def reader() -> RawReader:
    return RawReader("grace", [], "", random.Random(1), Silences())


def writer(record: Record) -> RawWriter:
    return RawWriter("ada", [], "", random.Random(1), record, ["busy-0"], 120.0)


def event(seq: int) -> dict[str, object]:
    return {"type": "event", "channel": "busy-0", "seq": seq, "id": f"id-{seq}"}


def test_what_comes_is_written_down_as_it_comes() -> None:
    """Repetitions and holes too: judging is the checker's."""
    one = reader()
    one.frame({"type": "welcome", "heartbeat_s": 5.0, "channels": [CHANNEL]}, 0.0)
    for seq in (5, 7, 7):
        one.frame(event(seq), 1.0)
    assert list(one.reading.tracks["busy-0"].seqs) == [5, 7, 7]
    assert one.reading.deliveries == 3
    assert one.last("busy-0") == 7


def test_an_event_of_a_channel_that_it_is_not_in_is_a_leak() -> None:
    """Nothing may be told of a channel before the server has said that the user is a member."""
    one = reader()
    one.frame(event(1), 0.0)
    assert one.reading.leaks == [("busy-0", 1)]


def test_what_the_server_itself_says_is_missing_is_kept() -> None:
    """A named gap and a reset are wrong in a run that must lose nothing."""
    one = reader()
    one.frame({"type": "resumed", "channel": "busy-0", "complete": False, "gap": {"reason": "too_far"}}, 0.0)
    one.frame({"type": "reset", "channel": "busy-0", "reason": "foreign_epoch"}, 0.0)
    assert len(one.reading.said) == 2


def test_it_asks_again_when_it_stays_below_a_head() -> None:
    """P8: not at the first ping, for the event may be on its way, but at the next without progress."""
    one = reader()
    one.frame({"type": "welcome", "heartbeat_s": 5.0, "channels": [CHANNEL]}, 0.0)
    ping = {"type": "ping", "heads": {"busy-0": 6}}
    assert one.frame(ping, 0.0) == [{"type": "pong"}]
    cursors = {"busy-0": {"epoch": "e", "seq": 4}}
    assert one.frame(ping, 0.0) == [{"type": "pong"}, {"type": "resume", "cursors": cursors}]
    one.frame(event(5), 0.0)
    assert one.frame(ping, 0.0) == [{"type": "pong"}]


def test_a_command_is_given_until_it_is_answered() -> None:
    """An error that says "later" keeps the command and its id; an ack, and only that, ends it."""
    record = Record()
    one = writer(record)
    one.pending = {"type": "send", "id": "a"}
    one.frame({"type": "error", "id": "a", "code": "unknown", "retry_after_ms": 10}, 0.0)
    one.lost()
    assert one.pending == {"type": "send", "id": "a"}
    one.frame({"type": "ack", "id": "a", "channel": "busy-0", "seq": 7, "duplicate": False}, 0.0)
    assert one.pending is None
    assert record.heads() == {"busy-0": 7}


def test_a_clock_that_is_ahead_is_set_by_the_servers() -> None:
    """`clock_skew` is final for that id; the next id is of the server's time, however wrong the clock is."""
    record = Record()
    one = writer(record)
    one.jump_ms = 3_600_000
    one.pending = {"type": "send", "id": "a"}
    asked = one.frame({"type": "error", "id": "a", "code": "clock_skew"}, 0.0)
    assert asked[0]["type"] == "ping"
    assert record.skewed == {"a"}
    one.frame({"type": "ping", "id": asked[0]["id"], "server_time": "2026-11-25T12:00:00.000Z"}, 0.0)
    assert one.pending is None
    stamped_ms = uuid.UUID(one.new_command()["id"]).int >> 80
    assert abs(stamped_ms - 1_795_608_000_000) < 60_000


def test_its_ids_are_uuids_of_version_7() -> None:
    """The time is in front, version and variant are where RFC 9562 wants them."""
    now_ms = time.time_ns() // 1_000_000
    id_ = uuid.UUID(uuid7(now_ms, random.Random(2)))
    assert (id_.version, id_.variant) == (7, uuid.RFC_4122)
    assert id_.int >> 80 == now_ms
