"""A sandbox without its first walls: `python -m tests.support.unchecked_child` runs whatever it is asked.

In the format `json` any SQL on the connection of a user's query, with DuckDB's settings locked; in `csv` any
SQL on a DuckDB with its usual settings; in `arrow` any Python. So each test says which wall holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import duckdb

from archiver import sandbox_child, sandbox_query
from archiver.core.sql import VIEWS
from archiver.sandbox_child import Job


def run(job: Job, sink: Callable[[bytes], object], *, memory_bytes: int, threads: int) -> None:
    """In place of `sandbox_query.run`."""
    if job["format"] == "arrow":
        said: list[object] = []
        exec(job["query"], {"said": said})
        sink(json.dumps(said).encode())
        return
    connection = duckdb.connect()
    if job["format"] == "json":
        connection = sandbox_query._connected(memory_bytes, threads)
        sandbox_query._open(connection, job["workspace"], job["channels"], job["files"], VIEWS)
    sink(json.dumps(connection.execute(job["query"]).fetchall(), default=str).encode())


if __name__ == "__main__":
    sandbox_query.run = run
    sandbox_child.main()
