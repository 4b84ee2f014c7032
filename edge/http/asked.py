"""Which page of a channel's history is asked for."""

from __future__ import annotations

from typing import NamedTuple

from starlette.requests import Request

from edge.core.fields import INTEGER_MAX
from edge.http.caller import number
from shared.errors import BadRequest

PAGE_DEFAULT = 50
PAGE_MAX = 200


class Asked(NamedTuple):
    """`limit` things, before, after or around a seq; without any of them the newest."""

    before: int | None
    after: int | None
    around: int | None
    limit: int

    def more(self, before: bool, after: bool) -> dict[str, bool]:
        """Whether more lies beyond a page: in each direction, and (`more`) where the question was going."""
        forwards = self.after is not None or self.around is not None
        backwards = self.after is None
        return {
            "more": (before and backwards) or (after and forwards),
            "more_before": before,
            "more_after": after,
        }


def asked_of(request: Request) -> Asked:
    """What the query says. Raises `BadRequest`."""
    limit = number(request, "limit", default=PAGE_DEFAULT, least=1, most=PAGE_MAX)
    before = number(request, "before", default=None, least=1, most=INTEGER_MAX)
    after = number(request, "after", default=None, least=0, most=INTEGER_MAX)
    around = number(request, "around", default=None, least=1, most=INTEGER_MAX)
    if [before, after, around].count(None) < 2:
        raise BadRequest("give one of before, after and around, not two")
    assert limit is not None
    return Asked(before, after, around, limit)
