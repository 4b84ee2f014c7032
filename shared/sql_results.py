"""Results of SQL as JSON lines, CSV, Arrow or Parquet; streamed, in bounded memory.

Texts are made by DuckDB itself, so every type has one form, whichever time zones Python knows.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Literal

import duckdb

from shared.errors import BadRequest

Format = Literal["json", "csv", "arrow", "parquet"]
ROWS_AT_ONCE = 2_000
ARROW_ROWS = 20_000

_JSON = 'SELECT to_json("parley row")::VARCHAR FROM (\n{}\n) AS "parley row"'
_CSV = 'SELECT CAST(COLUMNS(*) AS VARCHAR) FROM (\n{}\n) AS "parley row"'
Sink = Callable[[bytes], object]


def parsed(query: str) -> tuple[str, duckdb.StatementType]:
    """The one statement of a query, without what follows its end, and its type. Raises `BadRequest`."""
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(f"no Unicode at position {error.start}") from error
    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise BadRequest(str(error)) from error
    if len(statements) != 1:
        raise BadRequest(f"one statement is allowed, not {len(statements)}")
    return _bare(query), statements[0].type


def stream(connection: duckdb.DuckDBPyConnection, select: str, form: Format, sink: Sink) -> None:
    """Run a SELECT and write its result. Raises duckdb.Error, or what `sink` raises."""
    if form == "json":
        _lines(connection.execute(_JSON.format(select)), sink)
    elif form == "csv":
        _csv(connection.execute(_CSV.format(select)), sink)
    else:
        connection.execute(select)
        (_arrow if form == "arrow" else _parquet)(connection, sink)


def _bare(query: str) -> str:
    text = query.encode()
    for offset, kind in reversed(duckdb.tokenize(query)):
        if kind == duckdb.token_type.comment:
            continue
        if text[offset : offset + 1] != b";":
            break
        text = text[:offset]
    return text.decode()


def _lines(result: duckdb.DuckDBPyConnection, sink: Sink) -> None:
    while rows := result.fetchmany(ROWS_AT_ONCE):
        sink("".join([f"{row[0]}\n" for row in rows]).encode())


def _csv(result: duckdb.DuckDBPyConnection, sink: Sink) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column[0] for column in result.description or ()])
    while rows := result.fetchmany(ROWS_AT_ONCE):
        writer.writerows(rows)
        sink(text.getvalue().encode())
        text.seek(0)
        text.truncate()
    sink(text.getvalue().encode())


class _File(io.RawIOBase):
    """What pyarrow writes to."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        body = bytes(data)  # type: ignore[call-overload]  # a buffer of pyarrow's
        self._sink(body)
        return len(body)


def _arrow(connection: duckdb.DuckDBPyConnection, sink: Sink) -> None:
    import pyarrow as pa  # noqa: PLC0415  # 70 ms that other formats do not need

    batches = connection.to_arrow_reader(ARROW_ROWS)
    with pa.ipc.new_stream(_File(sink), batches.schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _parquet(connection: duckdb.DuckDBPyConnection, sink: Sink) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415

    batches = connection.to_arrow_reader(ARROW_ROWS)
    with pq.ParquetWriter(_File(sink), batches.schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
