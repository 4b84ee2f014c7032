"""The error tree: one code per error, each described, each with a status."""

from __future__ import annotations

import re

from shared import errors
from shared.errors import ParleyError

TREE = [
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ParleyError)
]


def test_codes_are_unique_and_stable_in_form() -> None:
    """Clients match codes: no two errors share one, and all are snake_case."""
    codes = [error.code for error in TREE]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_these_codes_are_published() -> None:
    """Removing or renaming a code breaks every client that matches it (P11, AT-20c)."""
    assert {error.code for error in TREE} >= {
        "bad_frame", "bad_request", "clock_skew", "conflict", "forbidden", "internal", "invalid_id",
        "invalid_text", "not_found", "rate_limited", "too_large", "unauthorized", "unavailable", "unknown",
        "unknown_type",
    }  # fmt: skip


def test_every_error_says_what_it_means() -> None:
    """The docstring is the documentation of the code."""
    assert all(error.__doc__ and error.__doc__ != ParleyError.__doc__ for error in TREE[1:])


def test_only_a_retryable_error_has_a_status_that_invites_a_retry() -> None:
    """429 and 503 tell HTTP clients to come back; all others tell them not to."""
    for error in TREE:
        assert error.retryable == (error.http_status in {429, 503}), error.code


def test_an_error_carries_its_advice() -> None:
    """The message, the wait and the bound that was hit travel with it."""
    error = errors.RateLimited("slow down", retry_after_ms=250, limit="user")
    assert (str(error), error.message, error.retry_after_ms, error.limit) == (
        "slow down",
        "slow down",
        250,
        "user",
    )
