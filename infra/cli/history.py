"""`parley history`: a channel's past, page by page, over HTTP (P23)."""

from __future__ import annotations

from collections.abc import Mapping
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
    around: Annotated[
        int | None, Parameter(validator=FROM_1, help="This event with those before and after it.")
    ] = None,
    limit: Annotated[int, Parameter(validator=FROM_1, help="So many events at most.")] = 50,
    json: Annotated[bool, Parameter(help="One JSON object a line.")] = False,
) -> None:
    """Print the events of CHANNEL, oldest first; by default the newest ones."""
    console = Console(soft_wrap=True, highlight=False)
    query = {"before": before, "after": after, "around": around}
    given = {name: seq for name, seq in query.items() if seq is not None}
    for event in fetch(access, channel, given, limit):
        if json:
            print(orjson.dumps(event).decode())
        else:
            console.print(line(event))


def fetch(access: Access, channel: str, given: Mapping[str, int], limit: int) -> list[EventFrame]:
    """The events before, after or around a number in ascending order, over as many pages as it takes."""
    headers = {"Authorization": f"Bearer {access.bearer()}"}
    with httpx.Client(base_url=access.pages(), headers=headers, timeout=30) as http:
        if "around" not in given:
            return _run(http, channel, given, limit)
        found, _ = _page(http, channel, {**given, "limit": min(_PAGE_MAX, limit)})
        if not found or len(found) == limit:
            return found
        left = limit - len(found)
        older = _run(http, channel, {"before": found[0]["seq"]}, left - left // 2)
        newer = _run(http, channel, {"after": found[-1]["seq"]}, left - len(older))
        return older + found + newer


def _run(http: httpx.Client, channel: str, given: Mapping[str, int], limit: int) -> list[EventFrame]:
    """Pages in one direction."""
    found: list[EventFrame] = []
    where = dict(given)
    more = True
    while more and len(found) < limit:
        events, more = _page(http, channel, {**where, "limit": min(_PAGE_MAX, limit - len(found))})
        if not events:
            break
        if "after" in given:
            found = found + events
            where["after"] = events[-1]["seq"]
        else:
            found = events + found
            where["before"] = events[0]["seq"]
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
