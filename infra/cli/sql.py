"""`parley sql`: SQL over the archive: as the operator over its files, or as a user through an edge."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Literal

import duckdb
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from infra.cli.options import DATA_DEFAULT, DataOption, data_directory
from shared import sql_results
from shared.archive_files import open_archive
from shared.errors import BadRequest

Format = Literal["table", "csv", "json", "arrow", "parquet"]


def sql(
    query: str,
    /,
    *,
    format: Annotated[  # noqa: A002
        Format, Parameter(help="`json`: one object a line; `arrow`: an IPC stream. `parquet`: a file.")
    ] = "table",
    limit: Annotated[int, Parameter(help="Rows of a table; the other formats are whole.")] = 1000,
    data: DataOption = DATA_DEFAULT,
) -> None:
    """Run QUERY over the archive as it is now: events, messages, channels, members, reactions.

    One SELECT (or DESCRIBE, SUMMARIZE, EXPLAIN). `parley sql "describe events"` shows the columns.
    """
    select, kind = sql_results.parsed(query)
    if kind not in _READING:
        raise BadRequest("one SELECT, DESCRIBE, SUMMARIZE or EXPLAIN is allowed")
    with open_archive(data_directory(data).archive) as connection:
        try:
            if format == "table":
                result = connection.execute(select)
                rows = result.fetchmany(limit + 1)
                _table(
                    [column[0] for column in result.description or ()], rows[:limit], cut=len(rows) > limit
                )
            else:
                sql_results.stream(connection, select, format, sys.stdout.buffer.write)
        except duckdb.Error as error:
            raise BadRequest(str(error)) from error


_READING = frozenset({duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN})


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
