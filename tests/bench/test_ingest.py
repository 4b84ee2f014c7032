"""The arithmetic of `ingest`, and what it takes for an ack."""

from __future__ import annotations

import pytest

from tests.bench.ingest import MODES, Rate, Sample, differing, figures_of, rate_of
from tests.bench.raw_publisher import Answers
from tests.bench.senders import Sent, in_turn


def _ack(body: str) -> bytes:
    return f"MSG _INBOX_edge.raw 1 {len(body)}\r\n{body}\r\n".encode()


ACK = _ack('{"stream":"LOG_0", "seq":12}')


def test_messages_in_turn_are_counted_by_channel() -> None:
    """The first channels get what is left over, and nothing is lost."""
    assert in_turn(["a", "b", "c"], 8) == {"a": 3, "b": 3, "c": 2}
    assert in_turn(["a", "b", "c"], 1) == {"a": 1, "b": 0, "c": 0}


def test_every_difference_between_log_and_acks_counts() -> None:
    """Too many, too few, and channels that only one of them knows; a sum that fits does not hide them."""
    assert differing({"a": 2, "b": 3}, {"a": 2, "b": 3}) == 0
    assert differing({"a": 3, "b": 2}, {"a": 2, "b": 3}) == 2
    assert differing({"a": 1}, {"b": 1}) == 2


def test_a_rate_spans_all_senders() -> None:
    """From the first message of any to the last answer of any."""
    sent = [Sent({"a": 60, "b": 40}, 10.0, 11.0, 500.0), Sent({"c": 100}, 10.5, 12.0, 1500.0)]
    rate = rate_of(sent, edge_us=4000.0, nats_us=1000.0)
    assert rate.per_s == 100
    assert rate.cpu_us == {"edge": 20, "nats": 5, "client": 10}


@pytest.mark.parametrize("size", [1, 7, len(ACK), 4 * len(ACK)])
def test_acks_are_counted_whatever_the_reads(size: int) -> None:
    """Each once, with a ping between them."""
    answers, pings = Answers(), 0
    written = ACK + b"PING\r\n" + ACK + ACK
    for start in range(0, len(written), size):
        pings += answers.heard(written[start : start + size])
    assert (answers.acks, pings) == (3, 1)


@pytest.mark.parametrize(
    "said",
    [
        _ack('{"stream":"LOG_0", "seq":12,"duplicate": true}'),
        _ack('{"error":{"code":503,"description":"no"},"stream":"LOG_0","seq":0}'),
        b"-ERR 'Permissions Violation'\r\n",
        b"HMSG _INBOX_edge.raw 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
    ],
)
def test_what_is_not_stored_is_no_ack(said: bytes) -> None:
    """A duplicate, an error, a violation and `no responders` end the measurement."""
    with pytest.raises(ValueError, match=r"LOG_0|-ERR|503"):
        Answers().heard(said)


def test_one_edge_is_judged_in_the_mode_process_alone() -> None:
    """There is one target, and the log has one everywhere."""
    slow, fast = (
        Rate(9_000.0, dict.fromkeys(("edge", "nats", "client"), 50.0)),
        Rate(30_000.0, {"edge": 0.0, "nats": 20.0, "client": 9.0}),
    )
    sample = Sample(one=slow, two=fast, raw=fast)
    judged = {
        (mode, figure.case, figure.figure, figure.met)
        for mode in MODES
        for figure in figures_of(mode, [sample], 0)
        if figure.met is not None
    }
    assert judged == {
        ("process", "process, R1: one edge", "acknowledged", False),
        ("process", "process, R1", "events in the log that differ from the acks", True),
        ("quorum", "quorum, R3", "events in the log that differ from the acks", True),
    }
