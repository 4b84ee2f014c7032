"""The channels that a query can be about: read off where it says so, and never too few."""

from __future__ import annotations

import json

import duckdb
import pytest

from archiver.core.sql_channels import channels_named


def named(query: str) -> frozenset[str] | None:
    """Of a query's text."""
    row = duckdb.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    assert row is not None
    return channels_named(json.loads(row[0]))


@pytest.mark.parametrize(
    ("query", "channels"),
    [
        ("SELECT 1", ""),
        ("FROM events WHERE channel = 'a'", "a"),
        ("FROM events WHERE 'a' = Channel AND text LIKE '%x%' AND seq > 5", "a"),
        ("FROM Events AS E WHERE seq > 5 AND e.channel IN ('a', 'b')", "ab"),
        ("SELECT * FROM (FROM events WHERE channel = 'a') x WHERE channel = 'b'", "a"),
        ("WITH m AS (FROM messages WHERE channel = 'a') FROM m JOIN m n USING (seq)", "a"),
        ("FROM events WHERE channel = 'a' UNION ALL FROM members WHERE channel = 'b'", "ab"),
        ("FROM events WHERE channel = 'a' AND seq IN (SELECT seq FROM messages WHERE channel = 'b')", "ab"),
        (
            "SELECT (SELECT max(m.seq) FROM messages m WHERE m.channel = 'b') FROM events e"
            " WHERE e.channel = 'a'",
            "ab",
        ),
        ("SELECT * REPLACE (author AS channel) FROM events WHERE channel = 'a'", "a"),
        ("SELECT seq AS n FROM events WHERE channel = 'a' GROUP BY ALL", "a"),
    ],
)
def test_they_are_named(query: str, channels: str) -> None:
    """In each place that reads a view, whatever else it says."""
    assert named(query) == frozenset(channels)


@pytest.mark.parametrize(
    "query",
    [
        "FROM events",
        "FROM events WHERE channel <> 'a'",
        "FROM events WHERE channel = 'a' OR seq = 1",
        "FROM events WHERE NOT channel = 'a'",
        "FROM events WHERE channel = author",
        "FROM events WHERE channel = lower('A')",
        "FROM events WHERE lower(channel) = 'a'",
        "FROM events WHERE channel LIKE 'a'",
        "FROM events WHERE channel NOT IN ('a')",
        "FROM events WHERE channel IN ('a', author)",
        "FROM events WHERE channel IN (SELECT 'a')",
        "FROM events WHERE 'a' IN (channel, 'b')",
        "FROM events WHERE author = 'a'",
        "FROM events WHERE extras.channel = 'a'",
        "FROM events e JOIN messages m USING (channel, seq) WHERE channel = 'a'",
        "FROM events e, (SELECT 1) x WHERE e.channel = 'a'",
        "FROM events WHERE channel = 'a' UNION ALL FROM members",
        "FROM events WHERE channel = 'a' AND seq IN (SELECT seq FROM messages)",
        "FROM events e WHERE EXISTS (FROM messages m WHERE e.channel = 'a')",
        "SELECT author AS channel FROM events WHERE channel = 'a'",
        "FROM events AS e(channel, workspace) WHERE channel = 'a'",
        "FROM events TABLESAMPLE 5 ROWS WHERE channel = 'a'",
        "SELECT count(*) FILTER (channel = 'a') FROM events",
        "SELECT count(*) FROM events GROUP BY channel HAVING channel = 'a'",
        "SELECT * FROM events QUALIFY channel = 'a'",
        "SELECT * FROM (FROM events) WHERE channel = 'a'",
        "WITH m AS (FROM messages) FROM m WHERE channel = 'a'",
        "FROM events SEMI JOIN (SELECT 'a' AS channel) USING (channel)",
    ],
)
def test_where_others_can_matter_none_are_left_out(query: str) -> None:
    """Anything that is not plainly said leaves all of them in."""
    assert named(query) is None
