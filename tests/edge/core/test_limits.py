"""Token buckets: never more than the rate allows, and a refusal leaves no trace (P18)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.limits import Bucket, Buckets, Rate, take_all
from shared.errors import RateLimited

rates = st.builds(Rate, st.floats(0.1, 500), st.integers(1, 50))
waits = st.lists(st.floats(0, 3), min_size=1, max_size=120)


def took(bucket: Bucket, now_s: float) -> bool:
    """Whether a token was there."""
    try:
        bucket.take(now_s)
    except RateLimited:
        return False
    return True


@given(rates, waits)
def test_never_more_than_the_rate(rate: Rate, gaps: list[float]) -> None:
    """Between any two moments at most rate * time + burst tokens are given."""
    bucket = Bucket("b", rate)
    given_at: list[float] = []
    now_s = 0.0
    for gap_s in gaps:
        now_s += gap_s
        if took(bucket, now_s):
            given_at.append(now_s)
    for first, start_s in enumerate(given_at):
        for last, end_s in enumerate(given_at[first:], first):
            assert last - first + 1 <= rate.per_s * (end_s - start_s) + rate.burst + 1e-6


@given(rates, waits)
def test_refusal_takes_nothing_and_says_when(rate: Rate, gaps: list[float]) -> None:
    """A refusal changes nothing, and who comes back when it says gets a token."""
    bucket = Bucket("b", rate)
    now_s = 0.0
    for gap_s in gaps:
        now_s += gap_s
        before = bucket.wait_s(now_s)
        try:
            bucket.take(now_s)
        except RateLimited as refused:
            assert bucket.wait_s(now_s) == before > 0
            assert refused.limit == "b"
            assert refused.retry_after_ms is not None
            now_s += refused.retry_after_ms / 1000 + 1e-6
            bucket.take(now_s)
        else:
            assert before == 0


@given(rates, rates, waits)
def test_all_or_none(one: Rate, other: Rate, gaps: list[float]) -> None:
    """A refusal by one bucket takes no token from the others, and names the one to wait for longest."""
    buckets = (Bucket("one", one), Bucket("other", other))
    now_s = 0.0
    for gap_s in gaps:
        now_s += gap_s
        before = {bucket.name: bucket.wait_s(now_s) for bucket in buckets}
        tokens = [bucket.tokens for bucket in buckets]
        try:
            take_all(now_s, *buckets)
        except RateLimited as refused:
            assert [bucket.tokens for bucket in buckets] == tokens
            assert before[str(refused.limit)] == max(before.values()) > 0
        else:
            assert max(before.values()) == 0
            assert [bucket.tokens for bucket in buckets] == [token - 1 for token in tokens]


def test_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    """Time that does not pass earns no tokens."""
    bucket = Bucket("b", Rate(10, 1), at_s=5.0)
    bucket.take(5.0)
    for now_s in (5.0, 4.0, 5.05):
        assert not took(bucket, now_s)
    assert took(bucket, 5.1001)


def test_keys_have_their_own_buckets() -> None:
    """One user's haste does not slow another."""
    buckets: Buckets[str] = Buckets("user", Rate(1, 1))
    buckets.of("ann", 0.0).take(0.0)
    buckets.of("bob", 0.0).take(0.0)
    with pytest.raises(RateLimited):
        buckets.of("ann", 0.0).take(0.0)


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 0.5)), max_size=200))
def test_remembered_buckets_are_bounded(calls: list[tuple[int, float]]) -> None:
    """However many keys come, the number of buckets stays at its bound."""
    buckets: Buckets[int] = Buckets("user", Rate(1, 3), remembered_max=8)
    now_s = 0.0
    for key, gap_s in calls:
        now_s += gap_s
        took(buckets.of(key, now_s), now_s)
        assert len(buckets) <= 8


def test_forgetting_a_full_bucket_changes_nothing() -> None:
    """When room is needed, buckets in use are kept and full ones go."""
    buckets: Buckets[str] = Buckets("user", Rate(0.01, 1), remembered_max=2)
    buckets.of("busy", 0.0).take(0.0)
    buckets.of("idle", 0.0)
    buckets.of("new", 1.0)
    with pytest.raises(RateLimited):
        buckets.of("busy", 1.0).take(1.0)
