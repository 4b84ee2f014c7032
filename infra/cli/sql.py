"""`parley sql`: DuckDB over the archive's Parquet files, read-only."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from typing import Annotated, Literal

import duckdb
import orjson
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from infra.cli.options import DATA_DEFAULT, DataOption, data_directory
from shared.archive_files import open_archive
from shared.errors import BadRequest

Format = Literal["table", "csv", "json"]


def sql(
    query: str,
    /,
    *,
    format: Annotated[Format, Parameter(help="`json`: one object a line.")] = "table",  # noqa: A002
    limit: Annotated[int, Parameter(help="Rows of a table; csv and json are whole.")] = 1000,
    data: DataOption = DATA_DEFAULT,
) -> None:
    """Run QUERY over the view `events`: what the archive holds now, every event once.

    One SELECT (or DESCRIBE, SUMMARIZE, EXPLAIN). `parley sql "describe events"` shows the columns.
    """
    statements = _parsed(query)
    if len(statements) != 1 or statements[0].type not in _READING:
        raise BadRequest("one SELECT, DESCRIBE, SUMMARIZE or EXPLAIN is allowed")
    with open_archive(data_directory(data).archive) as connection:
        try:
            result = connection.execute(query)
            columns = [column[0] for column in result.description or ()]
            if format == "table":
                rows = result.fetchmany(limit + 1)
                _table(columns, rows[:limit], cut=len(rows) > limit)
            else:
                _stream(result, columns, format)
        except duckdb.Error as error:
            raise BadRequest(str(error)) from error


_READING = frozenset({duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN})


def _parsed(query: str) -> list[duckdb.Statement]:
    try:
        return duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise BadRequest(str(error)) from error


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, cut: bool) -> None:
    table = Table()
    for index, column in enumerate(columns):
        numeric = bool(rows) and isinstance(rows[0][index], int | float)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if value is None else str(value)) for value in row))
    console = Console()
    console.print(table)
    if cut:
        console.print(f"only the first {len(rows)} rows: see --limit, or --format csv")


def _stream(result: duckdb.DuckDBPyConnection, columns: Sequence[str], form: Format) -> None:
    writer = csv.writer(sys.stdout)
    if form == "csv":
        writer.writerow(columns)
    while rows := result.fetchmany(2000):
        if form == "csv":
            writer.writerows(rows)
        else:
            for row in rows:
                pairs = dict(zip(columns, row, strict=True))
                print(orjson.dumps(pairs, default=str).decode())
