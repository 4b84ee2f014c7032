"""`parley history`: a channel's past, page by page, over HTTP (P23)."""

from __future__ import annotations

from typing import Annotated

import httpx
import orjson
from cyclopts import Parameter
from rich.console import Console

from infra.cli.access import ACCESS_DEFAULT, Access
from infra.cli.lines import line
from infra.cli.options import FROM_0, FROM_1
from shared.client.wire import EventFrame
from shared.errors import ParleyError, Unavailable

_PAGE_MAX = 100


class HistoryRefused(ParleyError):
    """The server answered with a problem document; the message is its own."""

    code = "history_refused"


def history(
    channel: str,
    /,
    *,
    access: Access = ACCESS_DEFAULT,
    before: Annotated[
        int | None, Parameter(validator=FROM_1, help="The newest events below this number.")
    ] = None,
    after: Annotated[
        int | None, Parameter(validator=FROM_0, help="The oldest events above this number.")
    ] = None,
    limit: Annotated[int, Parameter(validator=FROM_1, help="So many events at most.")] = 50,
    json: Annotated[bool, Parameter(help="One JSON object a line.")] = False,
) -> None:
    """Print the events of CHANNEL, oldest first; by default the newest ones."""
    console = Console(soft_wrap=True, highlight=False)
    for event in fetch(access, channel, before=before, after=after, limit=limit):
        if json:
            print(orjson.dumps(event).decode())
        else:
            console.print(line(event))


def fetch(
    access: Access, channel: str, *, before: int | None, after: int | None, limit: int
) -> list[EventFrame]:
    """The events in ascending order, over as many pages as it takes."""
    found: list[EventFrame] = []
    headers = {"Authorization": f"Bearer {access.bearer()}"}
    with httpx.Client(base_url=access.pages(), headers=headers, timeout=30) as http:
        while len(found) < limit:
            query = {"before": before, "after": after, "limit": min(_PAGE_MAX, limit - len(found))}
            events, more = _page(http, channel, {name: v for name, v in query.items() if v is not None})
            found = found + events if after is not None else events + found
            if not more or not events:
                break
            if after is not None:
                after = events[-1]["seq"]
            else:
                before = events[0]["seq"]
    return found


def _page(http: httpx.Client, channel: str, query: dict[str, int]) -> tuple[list[EventFrame], bool]:
    try:
        response = http.get(f"/v1/channels/{channel}/events", params=query)
    except httpx.TransportError as error:
        raise Unavailable(f"the edge at {http.base_url} does not answer: {error}") from error
    try:
        body = orjson.loads(response.content)
        if response.is_success:
            return body["events"], body["more"]
        raise HistoryRefused(f"{response.status_code} {body.get('detail') or body.get('title')}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable(f"{http.base_url} answers {response.status_code}, but not as an edge") from error
