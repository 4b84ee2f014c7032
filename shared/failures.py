"""What services answer each other: a reply, or a `Failure` in its place, which is an error on both sides."""

from __future__ import annotations

from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from shared.errors import BadQuery, BadRequest, ParleyError, QueryLimit, RateLimited, TooLarge, Unavailable
from shared.records import Failure

RETRY_AFTER_MS = 1000
_REFUSALS: Final = {kind.code: kind for kind in (BadRequest, QueryLimit, RateLimited, TooLarge)}
_TOLD = frozenset({*_REFUSALS, BadQuery.code, Unavailable.code})
"""Errors whose codes travel; any other is `internal` there."""

_Reply = TypeVar("_Reply", bound=BaseModel)


def failure_of(error: ParleyError) -> bytes:
    """What stands in the place of a reply."""
    failure = Failure.model_validate(
        {
            "error": error.code if error.code in _TOLD else "internal",
            "message": error.message,
            "retry_after_ms": error.retry_after_ms,
            "limit": error.limit,
            "place": (error.offset, error.length) if isinstance(error, BadQuery) else None,
        }
    )
    return failure.model_dump_json().encode()


def error_of(answer: bytes, *, may_refuse: bool = True) -> ParleyError:
    """The error that was answered: what whoever asked can mend as it is, any other as `Unavailable`.

    Without `may_refuse` it is that in any case: nobody who hears of it has made the question.
    """
    failure = Failure.model_validate_json(answer)
    if may_refuse and failure.error == BadQuery.code and failure.place is not None:
        return BadQuery(failure.message, offset=failure.place[0], length=failure.place[1])
    kind = _REFUSALS.get(failure.error) if may_refuse else None
    if kind is not None:
        return kind(failure.message, retry_after_ms=failure.retry_after_ms, limit=failure.limit)
    retry_after_ms = failure.retry_after_ms or RETRY_AFTER_MS
    return Unavailable(f"archive: {failure.message}", retry_after_ms=retry_after_ms)


def reply_of(answer: bytes, reply: type[_Reply], *, may_refuse: bool = True) -> _Reply:
    """The reply; raises the error in its place, as `error_of` has it."""
    try:
        return reply.model_validate_json(answer)
    except ValidationError:
        raise error_of(answer, may_refuse=may_refuse) from None
