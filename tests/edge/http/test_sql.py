"""`POST /v1/sql` through the front door: forms, what the caller may read, refusals, broken ends."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import AsyncIterator

import httpx
import pyarrow as pa
import pytest

from tests.support.peer import Peer, token
from tests.support.stack import Stack
from tests.support.waiting import eventually

SPIN = "SELECT count(*) FROM range(100000000000) a, range(100000) b WHERE a.range % 7 = b.range % 5"


def as_user(stack: Stack, user: str, edge: int = 0) -> httpx.AsyncClient:
    """A client with a user's token."""
    headers = {"Authorization": f"Bearer {token(user)}"}
    return httpx.AsyncClient(base_url=stack.address(edge), headers=headers, timeout=60)


async def said(stack: Stack, channel: str, user: str, kind: str, *texts: str, invited: str = "") -> str:
    """A channel with these messages; its id."""
    async with Peer.opened(stack.url, user) as peer:
        created = (
            await peer.do("create_channel", channel=channel, kind=kind, name=channel)
            if kind == "public"
            else (await peer.do("create_channel", kind=kind, name=channel))
        )
        channel = str(created["channel"])
        if invited:
            await peer.do("invite", channel=channel, user=invited)
        for text in texts:
            await peer.do("send", channel=channel, text=text)
    return channel


async def in_parquet(stack: Stack, user: str, channel: str, messages: int) -> None:
    """Wait until a user sees so many messages of a channel."""
    query = f"SELECT count(*) AS n FROM messages WHERE channel = '{channel}'"
    async with as_user(stack, user) as client:

        async def there() -> bool:
            answer = await client.post("/v1/sql", json={"query": query})
            return answer.status_code == 200 and answer.json()["n"] == messages

        await eventually(there, every_s=0.2)


async def test_every_form(stack: Stack) -> None:
    """JSON lines, CSV and Arrow, chosen by `format` or by `Accept`; from every edge."""
    channel = await said(stack, "sql-forms", "sql-ann", "public", "one", "two, ☕")
    await in_parquet(stack, "sql-ann", channel, 2)
    query = f"SELECT seq, text FROM messages WHERE channel = '{channel}' ORDER BY seq"
    rows = [(2, "one"), (3, "two, ☕")]
    for edge in (0, 1):
        async with as_user(stack, "sql-ann", edge) as client:
            lines = await client.post("/v1/sql", json={"query": query})
            assert lines.headers["content-type"] == "application/x-ndjson"
            assert [tuple(json.loads(line).values()) for line in lines.text.splitlines()] == rows
            for asked in (
                {"json": {"query": query, "format": "csv"}},
                {"json": {"query": query}, "headers": {"Accept": "text/csv"}},
            ):
                table = await client.post("/v1/sql", **asked)
                assert table.headers["content-type"].startswith("text/csv")
                assert list(csv.reader(io.StringIO(table.text))) == [
                    ["seq", "text"],
                    *([str(n), t] for n, t in rows),
                ]
            accept = {"Accept": "application/vnd.apache.arrow.stream"}
            arrow = await client.post("/v1/sql", json={"query": query}, headers=accept)
            assert pa.ipc.open_stream(arrow.content).read_all().to_pylist() == [
                {"seq": n, "text": t} for n, t in rows
            ]
            empty = await client.post("/v1/sql", json={"query": "SELECT 1 WHERE false"})
            assert (empty.status_code, empty.content) == (200, b"")


async def test_others_private_channels_are_not_there(stack: Stack) -> None:
    """A member sees it in every view, somebody else in none, and nor does a removed member (AT-46)."""
    channel = await said(stack, "sql-secret", "sql-ann", "private", "between us", invited="sql-bob")
    await in_parquet(stack, "sql-bob", channel, 1)
    counts = " UNION ALL ".join(
        f"SELECT count(*) AS n FROM {view} WHERE channel = '{channel}'"
        for view in ("events", "messages", "channels", "members", "reactions")
    )

    async def seen(user: str) -> int:
        async with as_user(stack, user) as client:
            answer = await client.post("/v1/sql", json={"query": f"SELECT sum(n)::INT AS n FROM ({counts})"})
        return int(answer.json()["n"])

    assert await seen("sql-bob") >= 5
    assert await seen("sql-eve") == 0
    async with Peer.opened(stack.url, "sql-ann") as peer:
        await peer.do("kick", channel=channel, user="sql-bob")
    assert await seen("sql-bob") == 0
    assert await seen("sql-ann") >= 5


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        (
            b'{"query": "SELECT * FROM read_text(\'/etc/passwd\')"}',
            400,
            "bad_request",
            "read_text is not allowed",
        ),
        (b'{"query": "COPY events TO \'x\'"}', 400, "bad_request", "one SELECT"),
        (b'{"query": "SELECT nothing FROM events"}', 400, "bad_request", "nothing"),
        (b'{"query": "SELECT \'x\'::INT"}', 400, "bad_request", "Could not convert"),
        (b'{"query": "SELECT unnest(range(1000000000)), repeat(\'z\', 1000)"}', 422, "query_limit", "memory"),
        (b'{"query": 5}', 400, "bad_request", "query"),
        (b"{}", 400, "bad_request", "query"),
        (b"[]", 400, "bad_frame", "object"),
        (b"SELECT 1", 400, "bad_frame", ""),
        (b'{"query": "SELECT 1", "format": "xml"}', 400, "bad_request", "format"),
        (b'{"query": "SELECT \\u0000"}', 400, "invalid_text", "NUL"),
        (b'{"query": "' + b"x" * 70_000 + b'"}', 413, "too_large", "bytes"),
        (b'{"query": "' + b"x" * 140_000 + b'"}', 413, "too_large", "bytes"),
    ],
)
async def test_refusals_are_problems(stack: Stack, body: bytes, status: int, code: str, words: str) -> None:
    """With the code and a sentence that says what is wrong."""
    async with as_user(stack, "sql-ann") as client:
        answer = await client.post("/v1/sql", content=body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in problem["detail"]


async def test_without_a_token(stack: Stack) -> None:
    """Nobody is asked anything."""
    async with httpx.AsyncClient(base_url=stack.url) as client:
        assert (await client.post("/v1/sql", json={"query": "SELECT 1"})).status_code == 401


async def test_a_long_result_is_streamed(stack: Stack) -> None:
    """More than any buffer on the way holds, and all of it; the edge serves others meanwhile."""
    query = "SELECT range AS n, repeat('x', 200) AS x FROM range(100000) ORDER BY n"
    found = 0
    async with (
        as_user(stack, "sql-ann") as client,
        client.stream("POST", "/v1/sql", json={"query": query}) as answer,
    ):
        async for line in answer.aiter_lines():
            assert json.loads(line)["n"] == found
            found += 1
            if found == 1000:
                assert (await client.get("/healthz")).status_code == 200
    assert found == 100_000


async def test_what_breaks_off_is_not_whole(stack: Stack) -> None:
    """A failure behind the first piece ends the connection: no client takes the part for the whole."""
    query = "SELECT CASE WHEN range < 900000 THEN '1' ELSE 'x' END::INT AS n FROM range(1000000)"
    async with as_user(stack, "sql-ann") as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/v1/sql", json={"query": query})
        assert (await client.post("/v1/sql", json={"query": "SELECT 1 AS a"})).json() == {"a": 1}


ENDLESS = "SELECT repeat('x', 1000) AS x FROM range(100000000)"


@contextlib.asynccontextmanager
async def begun(client: httpx.AsyncClient) -> AsyncIterator[None]:
    """An endless result of which the first bytes are there."""
    async with client.stream("POST", "/v1/sql", json={"query": ENDLESS}) as answer:
        assert answer.status_code == 200
        async with contextlib.aclosing(answer.aiter_raw()) as pieces:
            await anext(pieces)
            yield


async def test_who_goes_away_frees_the_place(stack: Stack) -> None:
    """A client that hangs up ends its query, whether its result has begun or not: there is room again."""
    async with as_user(stack, "sql-quitter") as client:

        async def left() -> bool:
            try:
                async with begun(client):
                    return True
            except AssertionError:  # the one before still goes
                return False

        for _ in range(4):
            await eventually(left, every_s=0.2)
        for _ in range(4):
            with contextlib.suppress(httpx.ReadTimeout):
                await client.post("/v1/sql", json={"query": SPIN}, timeout=1)
        await eventually(left, every_s=0.2)


async def test_a_users_places_are_few(stack: Stack) -> None:
    """Two at once; the third is told which bound that is and when to come back; others are served."""
    async with (
        as_user(stack, "sql-greedy") as client,
        as_user(stack, "sql-ann") as other,
        begun(client),
        begun(client),
    ):
        answer = await client.post("/v1/sql", json={"query": "SELECT 1"})
        assert (answer.status_code, answer.json()["limit"]) == (429, "sql_user_queries")
        assert int(answer.headers["retry-after"]) >= 1
        assert (await other.post("/v1/sql", json={"query": "SELECT 1 AS a"})).json() == {"a": 1}
