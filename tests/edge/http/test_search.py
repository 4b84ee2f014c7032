"""Search through the front door: a whole system finds what was acknowledged, for those who may read it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio

from tests.support.peer import Peer, token
from tests.support.stack import Stack, running_stack
from tests.support.waiting import eventually


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own_stack(tmp_path_factory: Any) -> AsyncIterator[Stack]:
    """A system whose archiver may be killed."""
    folder: Path = tmp_path_factory.mktemp("search")
    async with running_stack(folder) as running:
        yield running


async def ask(stack: Stack, user: str, status: int = 200, **parameters: object) -> dict[str, Any]:
    """One question."""
    headers = {"Authorization": f"Bearer {token(user)}"}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=30) as client:
        answer = await client.get("/v1/search", params={k: str(v) for k, v in parameters.items()})
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def places(page: dict[str, Any]) -> list[str]:
    """Hits as `channel/seq`."""
    return [f"{hit['channel']}/{hit['seq']}" for hit in page["hits"]]


async def test_what_is_acknowledged_is_found(stack: Stack) -> None:
    """At once, with author, time and a snippet; edits replace, deletions remove, reactions count."""
    async with Peer.opened(stack.url, "find-ann") as peer:
        await peer.do("create_channel", channel="find-a", kind="public", name="Find A")
        for number in range(10):
            ack = await peer.do("send", channel="find-a", text=f"marmalade number {number}")
            page = await ask(stack, "find-ann", q="marmalade")
            assert places(page)[0] == f"find-a/{ack['seq']}"
        hit = page["hits"][0]
        assert (hit["author"], hit["edited"], page["count"]) == ("find-ann", False, 10)
        assert hit["snippet"]["text"] == "marmalade number 9"
        assert hit["snippet"]["ranges"] == [[0, 9]]
        await peer.do("edit", channel="find-a", ref=2, text="jam, not jelly")
        await peer.do("delete", channel="find-a", ref=3)
        await peer.do("react", channel="find-a", ref=4, emoji="👍")
    assert places(await ask(stack, "find-bob", q="jam"))[0] == "find-a/2"
    assert places(await ask(stack, "find-bob", q="in:find-a marmalade has:reaction")) == ["find-a/4"]
    assert not {"find-a/2", "find-a/3"} & set(places(await ask(stack, "find-bob", q="marmalade")))


async def test_only_members_find_what_is_private(stack: Stack) -> None:
    """Not a hit, not a count, not a name; from the acknowledged removal on not even the removed (AT-46)."""
    async with Peer.opened(stack.url, "find-cat") as peer:
        made = await peer.do("create_channel", kind="private", name="Find Lair", members=["find-dan"])
        lair = made["channel"]
        await peer.do("send", channel=lair, text="treacle under the floor")
        for user, expected in (("find-cat", 1), ("find-dan", 1), ("find-eve", 0)):
            page = await ask(stack, user, q="treacle")
            assert (len(page["hits"]), page["count"]) == (expected, expected)
        await peer.do("kick", channel=lair, user="find-dan")
        assert (await ask(stack, "find-dan", q="treacle"))["count"] == 0
        told = [
            await ask(stack, "find-dan", 400, q=f'in:"{name}" treacle')
            for name in (lair, "Find Lair", "nowhere-at-all")
        ]
        for problem in told:
            assert (problem["code"], problem["offset"]) == ("bad_query", 0)
            assert problem["detail"] == told[0]["detail"]
        assert (await ask(stack, "find-cat", q='in:"find lair" treacle'))["count"] == 1


async def test_pages_follow_each_other(stack: Stack) -> None:
    """Over both partitions, newest first, while more is written; the cursor knows its question."""
    async with Peer.opened(stack.url, "find-fay") as peer:
        for channel in ("find-f1", "find-f2", "find-f3"):
            await peer.do("create_channel", channel=channel, kind="public", name=channel)
        sent = []
        for number in range(23):
            channel = f"find-f{number % 3 + 1}"
            ack = await peer.do("send", channel=channel, text=f"quince {number}")
            sent.append(f"{channel}/{ack['seq']}")
        found: list[str] = []
        page = await ask(stack, "find-fay", q="quince", limit=5)
        assert page["count"] == 23
        first = page["cursor"]
        found += places(page)
        while "cursor" in page:
            await peer.do("send", channel="find-f1", text="another quince, later")
            page = await ask(stack, "find-fay", q="quince", limit=5, cursor=page["cursor"])
            assert "count" not in page
            found += places(page)
        assert sorted(found) == sorted(sent)
        assert [place for place in found if place.startswith("find-f1/")] == [
            place for place in reversed(sent) if place.startswith("find-f1/")
        ]
        for other in (
            {"q": "quinces"},
            {"q": "quince", "sort": "relevant"},
            {"q": "quince", "tz": "Asia/Tokyo"},
        ):
            assert (await ask(stack, "find-fay", 400, cursor=first, **other))["code"] == "bad_request"
        best = await ask(stack, "find-fay", q="quince later", sort="relevant", limit=2)
        assert len(best["hits"]) == 2
        assert best["cursor"]


async def test_what_is_wrong_is_named(stack: Stack) -> None:
    """With its place in the query, or the parameter; nobody asks without a token."""
    problem = await ask(stack, "find-gil", 400, q="tea form:ada")
    assert (problem["code"], problem["offset"], problem["length"]) == ("bad_query", 4, 8)
    for parameters in ({}, {"q": ""}, {"q": "-tea"}, {"q": "x" * 501}, {"q": "\0"}):
        assert (await ask(stack, "find-gil", 400, **parameters))["code"] == "bad_query"
    for parameters in (
        {"q": "tea", "limit": 0},
        {"q": "tea", "limit": 51},
        {"q": "tea", "sort": "oldest"},
        {"q": "tea", "tz": "Mars"},
        {"q": "tea", "cursor": "nonsense"},
    ):
        assert (await ask(stack, "find-gil", 400, **parameters))["code"] == "bad_request"
    async with httpx.AsyncClient(base_url=stack.url) as client:
        assert (await client.get("/v1/search?q=tea")).status_code == 401


async def test_an_archiver_that_is_away_is_told(own_stack: Stack) -> None:
    """Never a list that is silently shorter; back again it finds everything."""
    async with Peer.opened(own_stack.url, "hal") as peer:
        await peer.do("create_channel", channel="away", kind="public", name="Away")
        await peer.do("send", channel="away", text="persimmon")
        assert (await ask(own_stack, "hal", q="persimmon"))["count"] == 1
        own_stack.archiver.kill()
        assert (await ask(own_stack, "hal", 503, q="persimmon"))["code"] == "unavailable"
        await peer.do("send", channel="away", text="another persimmon")
        await own_stack.archiver.start()
        await eventually(lambda: _has(own_stack, "persimmon", 2))


async def _has(stack: Stack, query: str, count: int) -> bool:
    headers = {"Authorization": f"Bearer {token('hal')}"}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=30) as client:
        answer = await client.get("/v1/search", params={"q": query})
    return answer.json().get("count") == count
