"""Which leaders move where, as a plan; for real see tests/infra/cli/test_rebalance.py and test_restart.py."""

from __future__ import annotations

from infra.nats.handover import BUCKET_STREAMS, all_streams, even

SERVERS = ("nats-1", "nats-2", "nats-3")


def test_every_log_and_bucket_counts() -> None:
    """A server is out of service only when it leads none of them."""
    assert all_streams(2) == ["LOG_0", "LOG_1", *BUCKET_STREAMS]
    assert len(BUCKET_STREAMS) == 3


def test_logs_and_buckets_are_spread_apart() -> None:
    """Three logs and three buckets that one server leads: each server gets one of either."""
    moves = even(dict.fromkeys(all_streams(3), "nats-2"), SERVERS)
    for group in (["LOG_0", "LOG_1", "LOG_2"], BUCKET_STREAMS):
        assert sorted(move.target for move in moves if move.stream in group) == ["nats-1", "nats-3"]


def test_a_leader_that_is_to_leave_goes_to_one_of_the_others() -> None:
    """Leaders that stay where they are do not move when they are spread evenly already."""
    leaders = {"LOG_0": "nats-1", "LOG_1": "nats-2", "LOG_2": "nats-3"}
    moves = even(leaders, ("nats-1", "nats-2"))
    assert [(move.stream, move.source) for move in moves] == [("LOG_2", "nats-3")]
