"""Failures: what one service answers is the error that the other raises."""

from __future__ import annotations

import pytest

from shared import errors
from shared.errors import BadQuery, BadRequest, ParleyError, QueryLimit, RateLimited, TooLarge, Unavailable
from shared.failures import error_of, failure_of, reply_of
from shared.records import CountReply

TOLD: list[ParleyError] = [
    BadRequest("no such page", limit="page"),
    QueryLimit("too much", limit="sql_memory"),
    RateLimited("later", retry_after_ms=70, limit="queries"),
    TooLarge("a big one", limit="bytes"),
    BadQuery("no end of the phrase", offset=3, length=4),
]


@pytest.mark.parametrize("error", TOLD, ids=lambda error: error.code)
def test_what_can_be_mended_arrives_as_it_is(error: ParleyError) -> None:
    """With everything that tells how."""
    again = error_of(failure_of(error))
    assert type(again) is type(error)
    assert vars(again) == vars(error)


def test_anything_else_is_unavailable() -> None:
    """Of an error that is the servers' own, callers hear that they may ask again."""
    away = error_of(failure_of(Unavailable("not yet", retry_after_ms=70)))
    assert (type(away), away.message, away.retry_after_ms) == (Unavailable, "archive: not yet", 70)
    internal = error_of(failure_of(errors.LogRegressed("gone")))
    assert (type(internal), internal.retry_after_ms) == (Unavailable, 1000)


def test_a_reply_is_read_or_its_failure_raised() -> None:
    """Who asks what nobody could mend hears that the archive is unavailable."""
    assert reply_of(CountReply(messages=3).model_dump_json().encode(), CountReply).messages == 3
    body = failure_of(BadRequest("no such page"))
    with pytest.raises(BadRequest):
        reply_of(body, CountReply)
    with pytest.raises(Unavailable, match="no such page"):
        reply_of(body, CountReply, may_refuse=False)
