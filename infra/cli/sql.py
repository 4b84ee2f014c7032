"""`parley sql`: SQL over the archive: as the operator over its files, or as a user through an edge."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import duckdb
import httpx
import orjson
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from infra.cli.access import Access
from infra.cli.options import DATA_DEFAULT, WORKSPACE_DEFAULT, DataOption, WorkspaceOption, data_directory
from shared import sql_results
from shared.archive_files import open_archive
from shared.errors import BadRequest, ParleyError, Unavailable

TIMEOUT_S = 90.0
"""Longer than a query may take: its own bounds end it."""


class SqlRefused(ParleyError):
    """The server answered with a problem document; the message is its own."""

    code = "sql_refused"


Format = Literal["table", "csv", "json", "arrow", "parquet"]


def sql(
    query: str,
    /,
    *,
    format: Annotated[  # noqa: A002
        Format,
        Parameter(
            help="`json`: one object a line; `arrow`: an IPC stream; `parquet`: a file, operators only."
        ),
    ] = "table",
    limit: Annotated[int, Parameter(help="Rows of a table; the other formats are whole.")] = 1000,
    as_: Annotated[
        str | None, Parameter(name="--as", help="Ask an edge, as this user, who sees what they may read.")
    ] = None,
    url: Annotated[
        list[str] | None, Parameter(env_var="PARLEY_URL", negative=(), help="Address of an edge, for --as.")
    ] = None,
    token: Annotated[
        str | None, Parameter(env_var="PARLEY_TOKEN", help="The user's token, for --as; else one is made.")
    ] = None,
    workspace: WorkspaceOption = WORKSPACE_DEFAULT,
    data: DataOption = DATA_DEFAULT,
) -> None:
    """Run QUERY over the archive as it is now: events, messages, channels, members, reactions.

    The operator reads the files and may DESCRIBE, SUMMARIZE and EXPLAIN, too: `parley sql "describe events"`
    shows the columns. A user (`--as`) may run one SELECT within bounds.
    """
    if as_ is None:
        _operator(query, format, limit, data)
    else:
        access = Access(url=url, token=token, user=as_, workspace=workspace, data=data)
        _user(access, query, format, limit)


def _operator(query: str, form: Format, limit: int, data: Path) -> None:
    select, kind = sql_results.parsed(query)
    if kind not in _READING:
        raise BadRequest("one SELECT, DESCRIBE, SUMMARIZE or EXPLAIN is allowed")
    with open_archive(data_directory(data).archive) as connection:
        try:
            if form == "table":
                result = connection.execute(select)
                rows = result.fetchmany(limit + 1)
                _table(
                    [column[0] for column in result.description or ()], rows[:limit], cut=len(rows) > limit
                )
            else:
                sql_results.stream(connection, select, form, sys.stdout.buffer.write)
        except duckdb.Error as error:
            raise BadRequest(str(error)) from error


def _user(access: Access, query: str, form: Format, limit: int) -> None:
    if form == "parquet":
        raise BadRequest("--as knows table, csv, json and arrow")
    body = {"query": query, "format": "json" if form == "table" else form}
    with _connected(access), httpx.Client(timeout=TIMEOUT_S) as http:
        request = http.build_request(
            "POST",
            f"{access.pages()}/v1/sql",
            json=body,
            headers={"Authorization": f"Bearer {access.bearer()}"},
        )
        response = http.send(request, stream=True)
        if not response.is_success:
            response.read()
            raise SqlRefused(_reason(response))
        if form == "table":
            rows = [orjson.loads(line) for line in itertools.islice(response.iter_lines(), limit + 1)]
            _table(
                list(rows[0]) if rows else [],
                [list(row.values()) for row in rows[:limit]],
                cut=len(rows) > limit,
            )
        else:
            for piece in response.iter_bytes():
                sys.stdout.buffer.write(piece)


@contextlib.contextmanager
def _connected(access: Access) -> Iterator[None]:
    """Says what a person can do about a connection that fails."""
    try:
        yield
    except httpx.RemoteProtocolError as error:
        raise Unavailable(
            f"the result broke off: a bound was reached, or the server went away ({error})"
        ) from error
    except httpx.TransportError as error:
        raise Unavailable(f"the edge at {access.pages()} does not answer: {error}") from error


def _reason(response: httpx.Response) -> str:
    try:
        problem = orjson.loads(response.content)
        return f"{response.status_code} {problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"{response.url} answers {response.status_code}, but not as an edge") from error


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
