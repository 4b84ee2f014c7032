"""A user's query sees what its user may read, and nothing tells it of the rest: no row, no error."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from archiver import sandbox_query
from archiver.core.sql import VIEWS
from archiver.core.sql_functions import FUNCTIONS
from archiver.sandbox_query import run
from shared.errors import BadRequest
from tests.support.sandboxes import SECRET, job_for, steal_from


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Alice may not read of it has SECRET in it."""
    return steal_from(tmp_path_factory.mktemp("sql") / "archive")


def ask(archive: Path, query: str) -> list[dict[str, object]]:
    """Alice's result."""
    pieces: list[bytes] = []
    run(job_for(archive, query), pieces.append, memory_bytes=2 * 1024**3, threads=2)
    return [json.loads(line) for line in b"".join(pieces).splitlines()]


def test_she_sees_hers(archive: Path) -> None:
    """Her channel in every view, as clients see it: of what is void, only that it was there."""
    assert ask(archive, "SELECT seq, kind, author, text FROM events ORDER BY seq") == [
        {"seq": 1, "kind": "channel.created", "author": "alice", "text": None},
        {"seq": 2, "kind": "message.posted", "author": "alice", "text": "17"},
        {"seq": 3, "kind": "message.posted", "author": "bob", "text": "18"},
        {"seq": 4, "kind": "reaction.added", "author": "bob", "text": None},
        {"seq": 5, "kind": "void", "author": "mallory", "text": None},
        {"seq": 6, "kind": "message.posted", "author": "alice", "text": ""},
        {"seq": 7, "kind": "message.edited", "author": "alice", "text": ""},
        {"seq": 8, "kind": "message.erased", "author": "alice", "text": None},
        {"seq": 9, "kind": "member.joined", "author": "cleo", "text": None},
        {"seq": 10, "kind": "message.posted", "author": "cleo", "text": ""},
        {"seq": 11, "kind": "user.erased", "author": "alice", "text": None},
        {"seq": 12, "kind": "message.posted", "author": "cleo", "text": "19"},
    ]
    assert ask(archive, "SELECT text FROM messages ORDER BY seq") == [
        {"text": "17"},
        {"text": "18"},
        {"text": "19"},
    ]
    assert ask(archive, "SELECT channel, kind, name FROM channels") == [
        {"channel": "tea", "kind": "public", "name": "tea"}
    ]
    assert ask(archive, "SELECT member, role FROM members ORDER BY 1") == [
        {"member": "alice", "role": "admin"},
        {"member": "bob", "role": "member"},
        {"member": "cleo", "role": "member"},
    ]
    assert ask(archive, "SELECT author, emoji, message FROM reactions") == [
        {"author": "bob", "emoji": "x", "message": 2}
    ]
    with pytest.raises(duckdb.BinderException, match="stream_seq"):
        ask(archive, "SELECT stream_seq FROM events")


def test_the_secret_is_there(archive: Path) -> None:
    """Whoever may read the private channel finds it: the tests below could fail."""
    job = job_for(archive, "SELECT * FROM messages")
    job["channels"] = ["tea", "p_SECRET"]
    pieces: list[bytes] = []
    run(job, pieces.append, memory_bytes=2 * 1024**3, threads=2)
    assert SECRET in b"".join(pieces).decode()


WHOLE = [
    "FROM {view}",
    "SELECT * FROM {view} WHERE channel = 'p_SECRET'",
    "SELECT count(*) AS n FROM {view} WHERE channel <> 'tea'",
    "SELECT * FROM {view} WHERE channel LIKE 'p%' OR true",
    "SELECT min(COLUMNS(*)), max(COLUMNS(*)) FROM {view}",
    "SELECT approx_top_k(channel, 10), histogram(channel), list(DISTINCT workspace) FROM {view}",
    "SELECT string_agg({view}::VARCHAR) FROM {view}",
    "SELECT a.*, b.* FROM {view} a FULL JOIN {view} b ON a.channel = b.channel",
    "SELECT * FROM {view} a SEMI JOIN (SELECT 'p_SECRET' AS channel) b USING (channel)",
    "SELECT (SELECT max(channel) FROM {view} i WHERE i.channel >= o.channel) FROM {view} o",
    "SELECT channel, row_number() OVER (ORDER BY channel) FROM {view}",
    "WITH RECURSIVE r AS (SELECT channel FROM {view} UNION SELECT channel FROM {view}) FROM r",
    "SELECT * FROM {view} ORDER BY channel DESC LIMIT 1",
    "SELECT * FROM {view} TABLESAMPLE 100%",
    "SELECT DISTINCT ON (channel) * FROM {view}",
    "FROM {view} EXCEPT FROM {view} WHERE channel = 'tea'",
    "SELECT quantile_disc(channel, [0, 0.5, 1]), mode(channel), arg_max(channel, channel) FROM {view}",
    "SELECT * FROM {view} WHERE (workspace, channel) IN (('other', 'tea'), ('acme', 'p_SECRET'))",
    "SELECT sum(hash(channel)) IS NULL FROM {view} WHERE workspace = 'other'",
]


@pytest.mark.parametrize("view", VIEWS)
def test_no_row_is_anothers(archive: Path, view: str) -> None:
    """By no view, with whatever is made of it."""
    for query in WHOLE:
        found = json.dumps(ask(archive, query.format(view=view)))
        assert SECRET not in found, query
        assert '"other"' not in found, query


ORACLES = [
    "SELECT count(*) AS n FROM {view} WHERE CASE WHEN contains({row}, 'SECRET') THEN 1 / 0 = 1"
    " OR 'x'::INT = 1 ELSE true END",
    "SELECT count(*) AS n FROM {view} WHERE contains({row}, 'SECRET') AND ({row})::INT > 0",
    "SELECT count(*) AS n FROM {view} WHERE ({row})::INT > 0 AND contains({row}, 'SECRET')",
    "SELECT count(*) AS n FROM {view} a JOIN {view} b"
    " ON CASE WHEN contains(a.channel, 'SECRET') THEN b.channel::INT = 1 ELSE true END",
    "SELECT count(CASE WHEN contains({row}, 'SECRET') THEN 'x'::INT END) AS n FROM {view}",
    "SELECT count(*) AS n FROM (SELECT * FROM {view} WHERE contains({row}, 'SECRET') AND 'x'::INT = 1)",
]


@pytest.mark.parametrize("view", VIEWS)
def test_no_error_tells_of_anothers_rows(archive: Path, view: str) -> None:
    """An expression that fails on what is secret does not fail: it is never computed there.

    One that fails on every row fails on hers, and says so with hers.
    """
    for oracle in ORACLES:
        query = oracle.format(view=view, row=f"{view}::VARCHAR")
        try:
            found = ask(archive, query)
        except BadRequest as error:
            pytest.fail(f"{query}: {error}")
        except duckdb.Error as error:
            assert SECRET not in str(error), query
            assert "Could not convert" in str(error)
        else:
            assert SECRET not in json.dumps(found)
    with pytest.raises(duckdb.ConversionException) as caught:
        ask(archive, f"SELECT channel::INT AS n FROM {view}")
    assert "tea" in str(caught.value)


@pytest.mark.parametrize("view", VIEWS)
def test_no_condition_moves_below_the_barrier(archive: Path, view: str) -> None:
    """In the plan every condition of the query stands above the limit that ends the view."""
    connection = sandbox_query._connected(2 * 1024**3, 2)
    job = job_for(archive, "")
    sandbox_query._open(connection, job["workspace"], job["channels"], job["files"], VIEWS)
    for condition in ("channel = 'needle'", "workspace || channel = 'needle'", "channel IN ('needle', 'x')"):
        plan = str(connection.execute(f"EXPLAIN SELECT * FROM {view} WHERE {condition}").fetchall()[0][1])
        above, limit, below = plan.partition("LIMIT")
        assert limit
        assert "needle" in above
        assert "needle" not in below


FAMILIES = {
    "text": ["lower({c})", "substr({c}, 1, 3)", "{c} || ''", "regexp_replace({c}, 'x', 'y')", "reverse({c})"],
    "digests": ["md5({c})", "sha256({c})", "hash({c})", "base64({c}::BLOB)"],
    "lists": ["list({c})", "array_agg({c})", "string_agg({c})", "first({c})", "any_value({c})"],
    "sketches": [
        "approx_count_distinct({c})",
        "approx_top_k({c}, 9)",
        "histogram({c})",
        "mode({c})",
        "entropy({c})",
    ],
    "extremes": ["min({c})", "max({c})", "arg_min({c}, {c})", "quantile_disc({c}, 0.9)"],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_functions_change_nothing(archive: Path, family: str) -> None:
    """Each family gives the same over the view as over the rows that she may read, put down by hand."""
    rows = "(SELECT 'tea' AS c FROM range(12))"
    for expression in FAMILIES[family]:
        mine = ask(archive, f"SELECT {expression.format(c='c')} AS x FROM {rows}")
        found = ask(archive, f"SELECT {expression.format(c='c')} AS x FROM (SELECT channel AS c FROM events)")
        assert found == mine, expression


def test_statistics_are_not_to_be_had(archive: Path) -> None:
    """What DuckDB knows of files without reading them covers everybody's rows: nothing shows it."""
    for query in (
        "SELECT stats(text) FROM events LIMIT 1",
        "SUMMARIZE events",
        "EXPLAIN ANALYZE SELECT * FROM events",
        "SELECT * FROM parquet_metadata('x')",
        "SELECT * FROM duckdb_columns()",
        "PRAGMA storage_info('readable')",
    ):
        with pytest.raises(BadRequest):
            ask(archive, query)
    assert "stats" not in FUNCTIONS


def test_many_channels(archive: Path) -> None:
    """A list of 5,000 is no different from a list of one; an empty one shows nothing."""
    job = job_for(archive, "SELECT DISTINCT channel FROM events")
    for channels, expected in (
        (["tea", *(f"c{number}" for number in range(5_000))], b'{"channel":"tea"}\n'),
        ([], b""),
    ):
        pieces: list[bytes] = []
        run({**job, "channels": channels}, pieces.append, memory_bytes=2 * 1024**3, threads=2)
        assert b"".join(pieces) == expected


def test_naming_a_channel_changes_no_answer(archive: Path) -> None:
    """Whether the list is narrowed to what a query names, or not, it finds the same."""
    for view in VIEWS:
        for condition in ("channel = 'tea'", "channel IN ('tea', 'p_SECRET')", "channel = 'p_SECRET'"):
            for shown in ("*", "* REPLACE (workspace AS channel)"):
                query = f"SELECT {shown} FROM {view} WHERE {condition}"
                assert ask(archive, f"{query} ORDER BY ALL") == ask(archive, f"{query} OR false ORDER BY ALL")
