"""The HTTP endpoints through the front door: pages by seq, lists, posting with an id, refusals (P23)."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.support.peer import Peer, new_id, token
from tests.support.stack import Stack
from tests.support.waiting import eventually


def as_user(stack: Stack, user: str) -> httpx.AsyncClient:
    """A client with a user's token."""
    headers = {"Authorization": f"Bearer {token(user)}"}
    return httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=30)


async def filled(stack: Stack, channel: str, user: str, messages: int) -> None:
    """A public channel of that user with so many messages: seq 2 and up."""
    async with Peer.opened(stack.url, user) as peer:
        await peer.do("create_channel", channel=channel, kind="public", name=channel.title())
        for number in range(messages):
            await peer.do("send", channel=channel, text=f"message {number}")


def seqs(page: dict[str, Any]) -> list[int]:
    """The numbers on a page."""
    return [event["seq"] for event in page["events"]]


@pytest.mark.parametrize(
    ("query", "numbers", "more"),
    [
        ("", [1, 2, 3, 4, 5, 6], False),
        ("?limit=2", [5, 6], True),
        ("?before=5&limit=2", [3, 4], True),
        ("?before=3", [1, 2], False),
        ("?before=1", [], False),
        ("?before=1000&limit=1", [6], True),
        ("?after=0&limit=3", [1, 2, 3], True),
        ("?after=4", [5, 6], False),
        ("?after=6", [], False),
        ("?after=1000", [], False),
        ("?around=3&limit=2", [2, 3], True),
        ("?around=3&limit=3", [2, 3, 4], True),
        ("?around=1&limit=3", [1, 2, 3], True),
        ("?around=1000&limit=3", [4, 5, 6], True),
        ("?around=2", [1, 2, 3, 4, 5, 6], False),
    ],
)
async def test_pages_go_by_seq(stack: Stack, query: str, numbers: list[int], more: bool) -> None:
    """Forwards, backwards, or the newest: ascending, without holes, and `more` is the truth."""
    channel = "http-pages"
    async with as_user(stack, "http-ann") as client:
        if (await client.get(f"/v1/channels/{channel}")).status_code == 404:
            await filled(stack, channel, "http-ann", 5)
        page = (await client.get(f"/v1/channels/{channel}/events{query}")).json()
    assert (seqs(page), page["more"]) == (numbers, more)
    if numbers:
        assert (page["more_before"], page["more_after"]) == (numbers[0] > 1, numbers[-1] < 6)


async def test_a_page_has_the_events_of_the_socket(stack: Stack) -> None:
    """Page and live feed show the same JSON for an event."""
    async with as_user(stack, "http-same") as client, Peer.opened(stack.url, "http-same") as peer:
        await peer.do("create_channel", channel="http-same", kind="public", name="n", topic="t")
        await peer.do("send", channel="http-same", text="☕ tea")
        live = await peer.event("http-same", 2)
        page = (await client.get("/v1/channels/http-same/events")).json()
    assert page["events"][1] == live
    assert (page["channel"], bool(page["epoch"])) == ("http-same", True)


@pytest.mark.parametrize(
    "query",
    ["?limit=0", "?limit=201", "?limit=x", "?limit=-1", "?limit=٣", "?before=0", "?after=-1",
     "?before=9007199254740992", "?before=1&after=1", "?around=0", "?around=2&after=1",
     "?limit=1e3", "?before=99999999999999999999"],
)  # fmt: skip
async def test_a_bad_query_is_named(stack: Stack, query: str) -> None:
    """400 with the parameter's name, before anything is looked up."""
    async with as_user(stack, "http-bad") as client:
        answer = await client.get(f"/v1/channels/http-none/events{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_posting_is_idempotent(stack: Stack) -> None:
    """The key is the id: again is 200 with the same seq, other text is a conflict."""
    await filled(stack, "http-post", "http-poster", 0)
    key = {"Idempotency-Key": new_id()}
    path = "/v1/channels/http-post/messages"
    async with as_user(stack, "http-poster") as client:
        first = await client.post(path, json={"text": "once"}, headers=key)
        again = await client.post(path, json={"text": "once"}, headers=key)
        other = await client.post(path, json={"text": "twice"}, headers=key)
        page = (await client.get("/v1/channels/http-post/events")).json()
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert first.json()["seq"] == again.json()["seq"] == 2
    assert (first.json()["duplicate"], again.json()["duplicate"]) == (False, True)
    assert other.json()["code"] == "conflict"
    assert seqs(page) == [1, 2]


@pytest.mark.parametrize(
    ("body", "key", "status"),
    [
        (b'{"text": "x"}', None, 400),
        (b'{"text": "x"}', "not-a-uuid", 400),
        (b"no json", "new", 400),
        (b"[]", "new", 400),
        (b"{}", "new", 400),
        (b'{"text": 7}', "new", 400),
        (b'{"text": "a\\u0000b"}', "new", 400),
        (b'{"text": "\\ud800"}', "new", 400),
        (b'{"text": "x", "imported": {"at": "2004-11-09T00:00:00Z", "author": "zoe"}}', "new", 403),
        (b'{"text": "' + b"x" * 200_000 + b'"}', "new", 413),
    ],
    ids=range(10),
)
async def test_a_bad_post_leaves_no_trace(stack: Stack, body: bytes, key: str | None, status: int) -> None:
    """Refused with a problem document; nothing is stored."""
    channel = "http-refused"
    headers = {} if key is None else {"Idempotency-Key": new_id() if key == "new" else key}
    async with as_user(stack, "http-refused") as client:
        if (await client.get(f"/v1/channels/{channel}")).status_code == 404:
            await filled(stack, channel, "http-refused", 0)
        answer = await client.post(f"/v1/channels/{channel}/messages", content=body, headers=headers)
        page = (await client.get(f"/v1/channels/{channel}/events")).json()
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert seqs(page) == [1]


async def test_the_type_of_a_post_cannot_be_chosen(stack: Stack) -> None:
    """A body that claims to be another command, or another channel, is still a message to this one."""
    await filled(stack, "http-type", "http-typist", 0)
    body = {"type": "delete", "channel": "elsewhere", "id": "x", "ref": 1, "text": "hi"}
    async with as_user(stack, "http-typist") as client:
        headers = {"Idempotency-Key": new_id()}
        answer = await client.post("/v1/channels/http-type/messages", json=body, headers=headers)
        page = (await client.get("/v1/channels/http-type/events")).json()
    assert answer.status_code == 201
    assert [event["kind"] for event in page["events"]] == ["channel.created", "message.posted"]


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer nonsense", "Basic YTpi", f"Bearer {token('x', ttl_s=-9)}"]
)
@pytest.mark.parametrize("path", ["", "/c", "/c/events", "/c/members"])
async def test_without_a_token_there_is_nothing(stack: Stack, path: str, header: str | None) -> None:
    """401 with a challenge, whatever is asked for."""
    headers = {} if header is None else {"Authorization": header}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers) as client:
        answer = await client.get(f"/v1/channels{path}")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


async def test_lists_are_paged(stack: Stack) -> None:
    """One's own and the public channels, each once, in order of id; members the same."""
    names = [f"http-list-{number}" for number in range(3)]
    for name in names:
        await filled(stack, name, "http-lister", 0)
    async with as_user(stack, "http-lister") as client:

        async def listed() -> list[str]:
            found: list[str] = []
            more = True
            while more:
                query = {"limit": "2"} | ({"after": found[-1]} if found else {})
                page = (await client.get("/v1/channels", params=query)).json()
                found += [channel["id"] for channel in page["channels"]]
                more = page["more"]
            return found

        found = await eventually(lambda: _complete(listed, names))
        members = (await client.get("/v1/channels/http-list-0/members")).json()
    assert found == sorted(set(found))
    assert members == {"members": [{"user": "http-lister", "role": "admin"}], "more": False}


async def _complete(listed: Any, names: list[str]) -> list[str] | None:
    found: list[str] = await listed()
    return found if set(names) <= set(found) else None


async def test_api_documents_are_served(stack: Stack) -> None:
    """The machine-readable protocol is there without a token, as JSON."""
    async with httpx.AsyncClient(base_url=stack.url) as client:
        for name, version in (("asyncapi", "3."), ("openapi", "3.1")):
            answer = await client.get(f"/v1/{name}.json")
            assert json.loads(answer.text)[name].startswith(version)
