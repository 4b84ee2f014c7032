"""Pages and posts over plain HTTP, as a user with a token."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, NamedTuple

from tests.support.peer import token


class Reply(NamedTuple):
    """An answer, whatever its status."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def fetch(
    url: str,
    user: str | None,
    path: str,
    *,
    body: bytes | dict[str, object] | None = None,
    scope: str = "",
    **headers: str,
) -> Reply:
    """GET, or POST if there is a body. `None` for the user sends no token."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    request = urllib.request.Request(url + path, data=data)
    if user is not None:
        request.add_header("Authorization", f"Bearer {token(user, scope=scope)}")
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return Reply(response.status, _lower(response.headers), response.read())
    except urllib.error.HTTPError as error:
        return Reply(error.code, _lower(error.headers), error.read())


def listed(url: str, user: str, channel: str) -> bool:
    """Whether the directory knows already that the user is in the channel."""
    found = fetch(url, user, "/v1/channels?limit=500").json["channels"]
    return any(view["id"] == channel and view["member"] for view in found)


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
