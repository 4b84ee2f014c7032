"""Token buckets: never more than promised, and a refusal takes nothing (P18)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.limits import Bucket, Buckets, Rate, take_all
from shared.errors import RateLimited

STEPS = st.lists(st.floats(0, 2), max_size=80)


@given(STEPS, st.floats(0.5, 20), st.integers(1, 10))
def test_never_more_than_rate_and_burst(steps: list[float], per_s: float, burst: int) -> None:
    """Over any stretch of time a bucket gives at most rate × time + burst."""
    bucket, now_s, given_out = Bucket("b", Rate(per_s, burst)), 0.0, 0
    for step in steps:
        now_s += step
        try:
            bucket.take(now_s)
        except RateLimited as refused:
            assert refused.limit == "b"
            assert refused.retry_after_ms is not None
            bucket.wait_s(now_s)
            Bucket("again", Rate(per_s, burst)).take(now_s)
        else:
            given_out += 1
        assert given_out <= per_s * now_s + burst + 1e-6


def test_waiting_as_told_is_enough() -> None:
    """Who comes back after `retry_after_ms` gets a token."""
    bucket = Bucket("b", Rate(3, 1))
    bucket.take(0.0)
    with pytest.raises(RateLimited) as refused:
        bucket.take(0.01)
    assert refused.value.retry_after_ms is not None
    bucket.take(0.01 + refused.value.retry_after_ms / 1000)


def test_a_refusal_takes_from_no_bucket() -> None:
    """All buckets give, or none does."""
    full, empty = Bucket("full", Rate(1, 5)), Bucket("empty", Rate(1, 1))
    empty.take(0.0)
    with pytest.raises(RateLimited):
        take_all(0.0, full, empty)
    assert full.tokens == 5


def test_remembered_buckets_are_bounded() -> None:
    """However many keys come, memory holds a bounded number of buckets."""
    buckets: Buckets[int] = Buckets("user", Rate(1, 1), remembered_max=10)
    for key in range(100):
        buckets.of(key, 0.0).take(0.0)
    assert len(buckets) <= 11
