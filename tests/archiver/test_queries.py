"""Users' SQL asked of a real archiver on a real server: what they may read, pieces, places, every end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from shared import events as e
from shared.bus import Bus
from shared.events import encode
from shared.ids import ChannelId, ChannelKey, UserId, WorkspaceId
from shared.records import Failure
from shared.settings import CommonSettings
from shared.sql_records import (
    SQL_END,
    SQL_PIECE,
    SQL_WAIT,
    SqlClose,
    SqlNext,
    SqlOpened,
    SqlRequest,
)
from shared.subjects import archive_subject
from tests.support.archive import ALICE, archiver_settings, posted, running, store, taken
from tests.support.events import example
from tests.support.waiting import eventually

BOB = UserId("bob")
ACME, OTHER = WorkspaceId("acme"), WorkspaceId("other")
TEA = ChannelKey(ACME, ChannelId("tea"))
PRIVATE = ChannelKey(ACME, ChannelId("p_x"))
ELSEWHERE = ChannelKey(OTHER, ChannelId("tea"))
SPIN = "SELECT count(*) FROM range(100000000000) a, range(100000) b WHERE a.range % 7 = b.range % 5"
TEXTS = "SELECT text FROM messages ORDER BY text"


async def opened(bus: Bus, query: str, user: UserId = BOB, form: str = "json") -> SqlOpened | Failure:
    """Begin a query."""
    request = SqlRequest.model_validate({"workspace": ACME, "user": user, "query": query, "format": form})
    raw = await bus.request(archive_subject("sql", "open"), request.model_dump_json().encode(), timeout_s=30)
    return Failure.model_validate_json(raw) if b'"error"' in raw else SqlOpened.model_validate_json(raw)


async def piece(bus: Bus, query: SqlOpened, number: int) -> bytes:
    """The answer about one piece, when there is one."""
    body = SqlNext(query=query.query, piece=number).model_dump_json().encode()
    answer = SQL_WAIT
    while answer == SQL_WAIT:
        answer = await bus.request(archive_subject(query.at, "next"), body, timeout_s=30)
    return answer


async def rows(bus: Bus, query: str, user: UserId = BOB) -> list[dict[str, object]]:
    """A whole result."""
    begun = await opened(bus, query, user)
    assert isinstance(begun, SqlOpened), begun
    result, number = b"", 0
    while (answer := await piece(bus, begun, number)).startswith(SQL_PIECE):
        result += answer[1:]
        number += 1
    assert answer == SQL_END, answer
    return [json.loads(line) for line in result.splitlines()]


def ended(outcome: str) -> float:
    """How many queries have ended so."""
    return REGISTRY.get_sample_value("parley_archive_sql_queries_total", {"outcome": outcome}) or 0.0


def texts(*words: str) -> list[dict[str, object]]:
    """Rows with these texts."""
    return [{"text": word} for word in words]


async def fill(bus: Bus) -> None:
    """A public channel, a private one of Alice's, and one of another workspace."""
    for key, kind, text in (
        (TEA, "public", "open"),
        (PRIVATE, "private", "private"),
        (ELSEWHERE, "public", "far"),
    ):
        creation = example(e.ChannelCreated, channel_kind=kind)
        await store(bus, key, [encode(creation), encode(posted(text))])


async def test_it_reads_what_they_may_read_now(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """Public channels and one's own, of one's own workspace; from the invitation on and until the removal."""
    settings = archiver_settings(fresh_settings, tmp_path / "archive", flush_events=1)
    async with running(fresh_bus, settings):
        await fill(fresh_bus)
        await taken(fresh_bus)
        await in_parquet(fresh_bus, ALICE, lambda found: found == texts("open", "private"))
        assert await rows(fresh_bus, TEXTS) == texts("open")
        await store(fresh_bus, PRIVATE, [encode(example(e.MemberInvited, user=BOB))])
        assert await rows(fresh_bus, TEXTS) == texts("open", "private")
        await store(fresh_bus, PRIVATE, [encode(example(e.MemberRemoved, user=BOB))])
        for query, seen in (
            (TEXTS, texts("open")),
            ("SELECT DISTINCT channel FROM events", [{"channel": "tea"}]),
            ("SELECT channel FROM channels", [{"channel": "tea"}]),
            ("SELECT DISTINCT channel FROM members", [{"channel": "tea"}]),
            ("SELECT count(*) AS n FROM events", [{"n": 2}]),
        ):
            assert await rows(fresh_bus, query) == seen


async def in_parquet(
    bus: Bus, user: UserId, holds: Callable[[list[dict[str, object]]], bool], query: str = TEXTS
) -> None:
    """Wait until a result is so."""

    async def found() -> bool:
        return holds(await rows(bus, query, user))

    await eventually(found, every_s=0.1)


async def test_pieces_can_be_asked_again(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """An answer that was lost is the same again; what lies before it is gone, and what lies beyond, too."""
    async with running(fresh_bus, archiver_settings(fresh_settings, tmp_path / "archive")):
        query = "SELECT range AS n, repeat('x', 90) AS x FROM range(10000) ORDER BY n"
        begun = await opened(fresh_bus, query)
        assert isinstance(begun, SqlOpened)
        pieces = []
        for number in range(100):
            answer = await piece(fresh_bus, begun, number)
            assert await piece(fresh_bus, begun, number) == answer
            assert len(answer) <= 256 * 1024
            if answer == SQL_END:
                break
            pieces.append(answer[1:])
        assert await piece(fresh_bus, begun, number) == SQL_END
        for wrong in (number - 2, number + 2):
            assert Failure.model_validate_json(await piece(fresh_bus, begun, wrong)).error == "unavailable"
        lines = b"".join(pieces).splitlines()
        assert [json.loads(line)["n"] for line in lines] == list(range(10_000))
        assert len(pieces) > 3


async def test_places_are_few(fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path) -> None:
    """So many of a user, so many in all; one that is closed, read, or failed gives its place back."""
    bounds = {"sql_queries_max": 3, "sql_user_queries_max": 2, "sql_bytes_max": 1000}
    settings = archiver_settings(fresh_settings, tmp_path / "archive", **bounds)
    async with running(fresh_bus, settings):
        begun = [await opened(fresh_bus, SPIN) for _ in range(2)]
        third = await opened(fresh_bus, SPIN)
        assert isinstance(third, Failure)
        assert (third.error, third.limit) == ("rate_limited", "sql_user_queries")
        begun.append(await opened(fresh_bus, SPIN, ALICE))
        fourth = await opened(fresh_bus, SPIN, ALICE)
        assert isinstance(fourth, Failure)
        assert (fourth.error, fourth.limit) == ("unavailable", "sql_queries")
        closed = ended("closed")
        for one in begun:
            assert isinstance(one, SqlOpened)
            body = SqlClose(query=one.query).model_dump_json().encode()
            await fresh_bus.request(archive_subject(one.at, "close"), body, timeout_s=30)
        assert ended("closed") == closed + 3
        for _ in range(4):
            assert await rows(fresh_bus, "SELECT 1 AS a") == [{"a": 1}]
            failed = await opened(fresh_bus, "SELECT nothing")
            assert isinstance(failed, SqlOpened)
            answer = Failure.model_validate_json(await piece(fresh_bus, failed, 0))
            assert answer.error == "bad_request"
            assert "nothing" in answer.message
        long = await opened(fresh_bus, f"SELECT '{'x' * 1000}'")
        assert isinstance(long, Failure)
        assert (long.error, long.limit) == ("too_large", "sql_bytes")


async def test_a_query_that_nobody_reads_is_ended(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """Its process is killed, its place is free, and who comes back late is told."""
    settings = archiver_settings(fresh_settings, tmp_path / "archive", sql_idle_s=0.2, sql_user_queries_max=1)
    async with running(fresh_bus, settings):
        before = ended("idle")
        begun = await opened(fresh_bus, SPIN)
        assert isinstance(begun, SqlOpened)
        await eventually(lambda: ended("idle") == before + 1)
        assert Failure.model_validate_json(await piece(fresh_bus, begun, 0)).error == "unavailable"
        assert isinstance(await opened(fresh_bus, "SELECT 1 AS a"), SqlOpened)


@pytest.mark.parametrize(
    ("query", "limit", "bounds"),
    [
        (SPIN, "time", {"sql_time_s": 3.0}),
        (SPIN, "cpu", {"sql_cpu_s": 1}),
        ("SELECT unnest(range(1000000000)), repeat('z', 1000)", "memory", {}),
        ("SELECT range FROM range(1000000)", "output", {"sql_output_bytes": 1_000_000}),
    ],
)
async def test_bounds_are_named(
    fresh_bus: Bus,
    fresh_settings: CommonSettings,
    tmp_path: Path,
    query: str,
    limit: str,
    bounds: dict[str, float],
) -> None:
    """A query that reaches one ends with its name, is counted, and the archiver answers the next one."""
    settings = archiver_settings(fresh_settings, tmp_path / "archive", **bounds)
    async with running(fresh_bus, settings):
        before = ended(limit)
        begun = await opened(fresh_bus, query)
        assert isinstance(begun, SqlOpened)
        number = 0
        while (answer := await piece(fresh_bus, begun, number)).startswith(SQL_PIECE):
            number += 1
        failure = Failure.model_validate_json(answer)
        assert (failure.error, failure.limit) == ("query_limit", limit)
        assert ended(limit) == before + 1
        assert await rows(fresh_bus, "SELECT 1 AS a") == [{"a": 1}]


async def test_none_are_taken_where_none_are_wanted(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """With no places at all nobody listens: another archiver may."""
    settings = archiver_settings(fresh_settings, tmp_path / "archive", sql_queries_max=0)
    async with running(fresh_bus, settings):
        with pytest.raises(Exception, match="nobody serves"):
            await opened(fresh_bus, "SELECT 1")


async def test_two_archivers_answer_for_the_whole_archive(
    fresh_bus: Bus, fresh_settings: CommonSettings, tmp_path: Path
) -> None:
    """Whichever takes a query asks both who may read what, and reads the segments of both."""
    common = {"flush_events": 1}
    first = archiver_settings(fresh_settings, tmp_path / "archive", archiver_partitions="0", **common)
    second = archiver_settings(
        fresh_settings, tmp_path / "archive", archiver_partitions="1", sql_queries_max=0, **common
    )
    keys = [ChannelKey(ACME, ChannelId(name)) for name in ("tea", "rust", "go", "zig")]
    async with running(fresh_bus, first), running(fresh_bus, second):
        for key in keys:
            await store(fresh_bus, key, [encode(example(e.ChannelCreated))])
        wanted = [{"channel": name} for name in ("go", "rust", "tea", "zig")]
        query = "SELECT channel FROM channels ORDER BY channel"
        await in_parquet(fresh_bus, BOB, lambda found: found == wanted, query)
