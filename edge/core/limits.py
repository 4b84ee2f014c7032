"""Token buckets: how fast a connection, a user and a channel may go (P18).

Pure: time is passed in as seconds of any steady clock. A refusal takes no token from any bucket, so that it
leaves no trace, and names the bucket and when to come back. A full bucket is forgotten, so that the number
of remembered buckets is bounded by what was active within the last seconds.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from shared.errors import RateLimited

Key = TypeVar("Key", bound=Hashable)
BUCKETS_MAX = 100_000
"""Above this many remembered buckets the full ones are forgotten."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second on average, at most `burst` at once."""

    per_s: float
    burst: int


@dataclass(slots=True)
class Bucket:
    """One bucket. It starts full."""

    name: str
    rate: Rate
    tokens: float = field(init=False)
    at_s: float = 0.0

    def __post_init__(self) -> None:
        self.tokens = float(self.rate.burst)

    def wait_s(self, now_s: float) -> float:
        """Seconds until a token is there; 0.0 if one is there now."""
        if now_s > self.at_s:
            earned = (now_s - self.at_s) * self.rate.per_s
            self.tokens = min(float(self.rate.burst), self.tokens + earned)
            self.at_s = now_s
        return (1.0 - self.tokens) / self.rate.per_s if self.tokens < 1.0 else 0.0

    def take(self, now_s: float) -> None:
        """Take one token; raises `RateLimited` and takes none if the bucket is empty."""
        wait_s = self.wait_s(now_s)
        if wait_s > 0.0:
            raise refused(self, wait_s)
        self.tokens -= 1.0

    def full(self, now_s: float) -> bool:
        """Whether forgetting this bucket would change nothing."""
        self.wait_s(now_s)
        return self.tokens >= self.rate.burst


def take_all(now_s: float, *buckets: Bucket) -> None:
    """Take one token from each bucket, or from none: raises `RateLimited` for the longest wait."""
    longest_s, slowest = 0.0, None
    for bucket in buckets:
        wait_s = bucket.wait_s(now_s)
        if wait_s > longest_s:
            longest_s, slowest = wait_s, bucket
    if slowest is not None:
        raise refused(slowest, longest_s)
    for bucket in buckets:
        bucket.tokens -= 1.0


def refused(bucket: Bucket, wait_s: float) -> RateLimited:
    """The refusal that names the bucket and the time to come back."""
    return RateLimited(
        f"more than {bucket.rate.per_s:g} a second ({bucket.rate.burst} at once) for this {bucket.name}",
        retry_after_ms=math.ceil(wait_s * 1000),
        limit=bucket.name,
    )


class Buckets(Generic[Key]):
    """The buckets of many keys with one rate."""

    def __init__(self, name: str, rate: Rate, *, remembered_max: int = BUCKETS_MAX) -> None:
        self._name = name
        self._rate = rate
        self._remembered_max = remembered_max
        self._buckets: dict[Key, Bucket] = {}

    def of(self, key: Key, now_s: float) -> Bucket:
        """The bucket of `key`."""
        found = self._buckets.get(key)
        if found is None:
            if len(self._buckets) >= self._remembered_max:
                self._forget(now_s)
            found = self._buckets[key] = Bucket(self._name, self._rate, at_s=now_s)
        return found

    def __len__(self) -> int:
        return len(self._buckets)

    def _forget(self, now_s: float) -> None:
        """Drop the full buckets; if all are in use, the oldest half (they fill up again by themselves)."""
        kept = {key: bucket for key, bucket in self._buckets.items() if not bucket.full(now_s)}
        if len(kept) >= self._remembered_max:
            kept = dict(list(kept.items())[len(kept) // 2 :])
        self._buckets = kept
