"""Results of SQL in every format: what is read back is what DuckDB said, in pieces, whatever the types."""

from __future__ import annotations

import csv
import io
import json

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.errors import BadRequest
from shared.sql_results import Format, parsed, stream

TYPES = (
    "SELECT 1 AS a, 2 AS a, 'x,\n\"☕' AS b, NULL AS c, 1.50::DECIMAL(9, 2) AS d, [1, 2] AS e, now() AS f,"
    " TIMESTAMP '2026-01-02 03:04:05' AS g, 170141183460469231731687303715884105727::HUGEINT AS h,"
    " {'k': 'v'} AS i, 'x'::BLOB AS j, INTERVAL 1 DAY AS k"
)


def result(query: str, form: Format) -> bytes:
    """A whole result."""
    pieces: list[bytes] = []
    with duckdb.connect() as db:
        stream(db, parsed(query)[0], form, pieces.append)
    return b"".join(pieces)


def test_json_lines_hold_any_type() -> None:
    """One object a line; times, decimals and numbers of any size are there, equal names are told apart."""
    (row,) = [json.loads(line) for line in result(TYPES, "json").splitlines()]
    assert row.pop("f").startswith("20")
    assert row == {
        "a": 1,
        "a_1": 2,
        "b": 'x,\n"☕',
        "c": None,
        "d": 1.5,
        "e": [1, 2],
        "g": "2026-01-02 03:04:05",
        "h": 2**127 - 1,
        "i": {"k": "v"},
        "j": "x",
        "k": "1 day",
    }


def test_csv_holds_any_type() -> None:
    """A header, then the rows, quoted where needed; also without rows."""
    header, row = csv.reader(io.StringIO(result(TYPES, "csv").decode()))
    assert header == ["a", "a_1", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"]
    assert row[:6] == ["1", "2", 'x,\n"☕', "", "1.50", "[1, 2]"]
    assert result("SELECT 1 AS a WHERE false", "csv") == b"a\n"


@pytest.mark.parametrize("form", ["json", "csv", "arrow", "parquet"])
def test_many_rows_keep_their_order(form: Format) -> None:
    """More rows than are handled at once, in the order that was asked for."""
    body = result("SELECT range AS n FROM range(100000) ORDER BY n DESC", form)
    if form == "json":
        found = [json.loads(line)["n"] for line in body.splitlines()]
    elif form == "csv":
        found = [int(line) for line in body.split()[1:]]
    elif form == "arrow":
        found = pa.ipc.open_stream(body).read_all().column("n").to_pylist()
    else:
        found = pq.read_table(io.BytesIO(body)).column("n").to_pylist()
    assert found == list(range(99_999, -1, -1))


@pytest.mark.parametrize(
    "end", ["", ";", " ; ", ";;\n", "; -- a remark", "-- ☕; a remark", "/* ; */", "; /* a; */ ;"]
)
def test_what_follows_a_statement_is_left_out(end: str) -> None:
    """Semicolons and remarks at the end do no harm, and nothing of the text is lost."""
    assert json.loads(result(f"SELECT ';☕' AS a {end}", "json")) == {"a": ";☕"}


@pytest.mark.parametrize("query", ["", ";", "SELECT 1; SELECT 2", "SELEC", "SELECT '\ud800'"])
def test_what_is_no_statement_is_refused(query: str) -> None:
    """None, two, a wrong one, one that is no Unicode."""
    with pytest.raises(BadRequest):
        parsed(query)
