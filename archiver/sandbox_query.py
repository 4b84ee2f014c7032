"""A user's query, in the process that may do nothing else: checked, then run over what the user may read.

Each view ends in a `LIMIT` that never bites. No condition of the query can move below it, because that would
change what it lets through: so expressions of strangers only ever see rows that they may read, and neither an
error nor its absence says anything about others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import duckdb

from archiver.core.sql import check
from archiver.core.sql_channels import channels_named
from shared import sql_results
from shared.archive_views import told, views
from shared.errors import BadRequest
from shared.sql_results import Format

if TYPE_CHECKING:
    from archiver.sandbox_child import Job
    from archiver.sandbox_files import Files

_LIST = "from_json(?, '[\"VARCHAR\"]')"
BARRIER = "LIMIT 1000000000000000000"

_READABLE = (
    "(SELECT * FROM read_parquet(getvariable('archive_files')) SEMI JOIN readable USING (workspace, channel))"
)


def run(
    job: Job,
    sink: Callable[[bytes], object],
    *,
    memory_bytes: int,
    threads: int,
    files: Files | None = None,
) -> None:
    """Check and run; `files` are those of a bucket. Raises `BadRequest`, duckdb.Error, MemoryError, or what
    `sink` raises.
    """
    select, kind = sql_results.parsed(job["query"])
    if kind != duckdb.StatementType.SELECT:
        raise BadRequest("one SELECT is allowed")
    connection = _connected(memory_bytes, threads, files)
    tree = connection.execute("SELECT json_serialize_sql(?)", [select]).fetchone()
    assert tree is not None
    parsed = json.loads(tree[0])
    used, named = check(parsed), channels_named(parsed)
    channels = [channel for channel in job["channels"] if named is None or channel in named]
    _open(connection, job["workspace"], channels, job["files"], used)
    form: Format = job["format"]  # type: ignore[assignment]  # checked where it came in
    sql_results.stream(connection, select, form, sink)


def _connected(memory_bytes: int, threads: int, files: Files | None = None) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        config={
            "threads": threads,
            "memory_limit": f"{memory_bytes * 5 // 8}B",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "python_enable_replacements": False,
        }
    )
    if files is not None:
        connection.register_filesystem(files)
    for setting in (
        "preserve_insertion_order = false",
        "parquet_metadata_cache = true",
        "temp_directory = ''",
        "max_temp_directory_size = '0B'",
    ):
        connection.execute(f"SET {setting}")
    return connection


def _open(
    connection: duckdb.DuckDBPyConnection,
    workspace: str,
    channels: Sequence[str],
    files: Sequence[str],
    used: Collection[str],
) -> None:
    """Give it the views that it uses, then lock it: the place that knows how an archive's files are read."""
    # As JSON: 5,000 channels as a list of Python take 0.8 s.
    connection.execute(f"SET VARIABLE archive_files = {_LIST}", [json.dumps(files)])
    connection.execute(
        f"CREATE TEMP TABLE readable AS SELECT ? AS workspace, unnest({_LIST}) AS channel",
        [workspace, json.dumps(channels)],
    )
    for name, text in {"events": told(_READABLE), **views(_READABLE)}.items():
        if name in used:
            connection.execute(f"CREATE TEMP VIEW {name} AS {text} {BARRIER}")
    connection.execute(f"SET allowed_paths = [{', '.join(map(_quoted, files))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
