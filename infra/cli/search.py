"""`parley search`: messages by what they say, over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import httpx
import orjson
from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from infra.cli.access import ACCESS_DEFAULT, Access
from infra.cli.options import FROM_1
from infra.cli.search_rebuild import rebuild as make_anew
from shared.errors import BadRequest, ParleyError, Unavailable

_PAGE_MAX = 50
_TIMEOUT_S = 30

Answer = dict[str, Any]


class SearchRefused(ParleyError):
    """The server answered with a problem document; the message is its own."""

    code = "search_refused"


def search(
    query: str = "",
    /,
    *,
    rebuild: Annotated[
        bool, Parameter(negative=(), help="Make the indexes anew, as an operator; nothing is looked for.")
    ] = False,
    access: Access = ACCESS_DEFAULT,
    sort: Annotated[
        Literal["newest", "relevant"], Parameter(help="The newest first, or the best of the newest.")
    ] = "newest",
    limit: Annotated[int, Parameter(validator=FROM_1, help="So many hits at most.")] = 20,
    tz: Annotated[str, Parameter(help="Whose days the dates mean, Europe/Berlin for example.")] = "UTC",
    json: Annotated[bool, Parameter(help="One JSON object a line.")] = False,
) -> None:
    """Print the messages that QUERY finds in all channels that the user may read.

    QUERY: words, "phrases", beginnings*, -without, from:user in:channel has:link|file|reaction is:thread
    before: after: on: during: (2026-11-25, 2026-11 or 2026).

    With --rebuild every archiver and reader makes its indexes anew from the archive and the log. Until they
    are done, search says `unavailable` and how far they are; everything else goes on. Ctrl-C ends the
    progress bar only.
    """
    if rebuild:
        if query:
            raise BadRequest("--rebuild takes no query")
        make_anew(access.data)
        return
    if not query:
        raise BadRequest("what is to be found? Name a QUERY, or --rebuild")
    console = Console(soft_wrap=True, highlight=False)
    headers = {"Authorization": f"Bearer {access.bearer()}"}
    asked = {"q": query, "sort": sort, "tz": tz}
    left = limit
    with httpx.Client(base_url=access.pages(), headers=headers, timeout=_TIMEOUT_S) as http:
        page = _page(http, asked | {"limit": str(min(left, _PAGE_MAX))})
        if not json:
            console.print(_counted(page), style="dim")
        while True:
            for hit in page["hits"]:
                if json:
                    print(orjson.dumps(hit).decode())
                else:
                    console.print(_line(hit))
            left -= len(page["hits"])
            if left <= 0 or "cursor" not in page:
                return
            page = _page(http, asked | {"limit": str(min(left, _PAGE_MAX)), "cursor": page["cursor"]})


def _page(http: httpx.Client, parameters: dict[str, str]) -> Answer:
    try:
        response = http.get("/v1/search", params=parameters)
    except httpx.TransportError as error:
        raise Unavailable(f"the edge at {http.base_url} does not answer: {error}") from error
    try:
        body: Answer = orjson.loads(response.content)
        if response.is_success:
            assert isinstance(body["hits"], list)
            return body
        raise SearchRefused(_refusal(body, parameters["q"]))
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise Unavailable(f"{http.base_url} answers {response.status_code}, but not as an edge") from error


def _refusal(problem: Answer, query: str) -> str:
    """What is wrong, and, if it is something in the query, what it is."""
    said = f"{problem['status']} {problem.get('detail') or problem.get('title')}"
    if "offset" not in problem:
        return said
    wrong = query[problem["offset"] : problem["offset"] + problem["length"]]
    return f"{said} (at character {problem['offset'] + 1}: {wrong})" if wrong else said


def _counted(page: Answer) -> str:
    number = f"{page['count']:,}" + ("+" if page.get("capped") else "")
    return f"{number} message{'' if page['count'] == 1 else 's'}"


def _line(hit: Answer) -> Text:
    """Time, channel, number, author and the snippet with its matches; nothing in it is taken for markup."""
    text = Text()
    when = hit.get("imported_at") or hit["ts"]
    text.append(f"{when[:19].replace('T', ' ')} ", style="dim")
    text.append(f"{hit['channel']} ", style="cyan")
    text.append(f"#{hit['seq']} ", style="dim")
    text.append(f"{hit['author']} ", style="bold")
    snippet = hit["snippet"]
    said = Text(
        ("…" if snippet["cut_before"] else "") + snippet["text"] + ("…" if snippet["cut_after"] else "")
    )
    shift = 1 if snippet["cut_before"] else 0
    for start, end in snippet["ranges"]:
        said.stylize("bold yellow", start + shift, end + shift)
    return text.append_text(Text(" ").join(said.split()))
