"""A sandbox without its first walls: `python -m tests.support.unchecked_child` runs whatever it is asked.

The query is a JSON list of attempts; what became of each is the result: `"done"`, or the error. In the format
`json` any SQL on the connection of a user's query, with DuckDB's settings locked; in `csv` any
SQL on a DuckDB with its usual settings; in `arrow` any Python. So each test says which wall holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import duckdb

from archiver import sandbox_child, sandbox_query
from archiver.core.sql import VIEWS
from archiver.sandbox_child import Job
from archiver.sandbox_files import Files


def run(
    job: Job,
    sink: Callable[[bytes], object],
    *,
    memory_bytes: int,
    threads: int,
    files: Files | None = None,
) -> None:
    """In place of `sandbox_query.run`."""
    if job["format"] == "arrow":
        attempt: Callable[[str], object] = partial(_execute, files)
    elif job["format"] == "csv":
        opened = duckdb.connect()
        if files is not None:
            opened.register_filesystem(files)
        attempt = opened.execute
    else:
        connection = sandbox_query._connected(memory_bytes, threads, files)
        sandbox_query._open(connection, job["workspace"], job["channels"], job["files"], VIEWS)
        attempt = connection.execute
    sink(json.dumps([_outcome(attempt, text) for text in json.loads(job["query"])]).encode())


def _execute(files: Files | None, code: str) -> None:
    exec(code, {"files": files})


def _outcome(attempt: Callable[[str], object], text: str) -> str:
    try:
        found = attempt(text)
        if isinstance(found, duckdb.DuckDBPyConnection):
            found.fetchall()
    except (duckdb.Error, OSError) as error:
        return repr(error)
    return "done"


if __name__ == "__main__":
    sandbox_query.run = run
    sandbox_child.main()
