"""Problem documents: one form for every operating error, with advice where a retry helps (P23)."""

from __future__ import annotations

import json

import pytest

from edge.http.problems import MEDIA_TYPE, respond
from shared import errors
from shared.errors import ParleyError

TREE = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ParleyError)]


@pytest.mark.parametrize("kind", TREE)
def test_every_error_has_a_document(kind: type[ParleyError]) -> None:
    """Status, code and text are the error's; 429 and 503 carry Retry-After, 401 its challenge."""
    response = respond(kind("what to do"))
    document = json.loads(response.body)
    assert response.media_type == MEDIA_TYPE
    assert response.status_code == document["status"] == kind.http_status
    assert (document["code"], document["detail"]) == (kind.code, "what to do")
    assert ("retry-after" in response.headers) == (kind.http_status in {429, 503})
    assert ("www-authenticate" in response.headers) == (kind.http_status == 401)


@pytest.mark.parametrize(("wait_ms", "header"), [(1, "1"), (1000, "1"), (1001, "2"), (None, "1"), (0, "1")])
def test_retry_after_is_rounded_up(wait_ms: int | None, header: str) -> None:
    """Whole seconds, never earlier than asked for, never 0."""
    response = respond(errors.RateLimited("later", retry_after_ms=wait_ms, limit="user"))
    assert response.headers["retry-after"] == header
    assert json.loads(response.body)["limit"] == "user"
