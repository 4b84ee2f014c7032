"""`python -m archiver.sandbox_child`: one process for one query of one user. It answers on standard output.

First the walls, then imports, then one line on standard input, the job, and the last wall. What is written is
frames: a letter, four bytes of length, a body. `R`: ready for a job; `D`: a piece of the result; `E`: an
error as JSON; `Z`: the result is whole.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn, TypedDict

from archiver import walls
from shared.errors import BadRequest, Misconfigured, ParleyError

if TYPE_CHECKING:
    from archiver.sandbox_files import Files

PIECE_BYTES = 192 * 1024
"""A piece of a result: it travels in one NATS message."""


NEEDED = ("archiver.sandbox_query", "datetime", "decimal", "uuid")
"""Our own, and what DuckDB imports when it meets its first value of Python's."""

NEEDED_IN_A_BUCKET = ("archiver.sandbox_files", "fsspec.implementations.memory", "duckdb.filesystem")

DUCKDB_READS = (Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
"""How much memory there is; it aborts where it finds these and cannot read them."""


class Setup(TypedDict):
    """What is known before there is a query; the first argument, as JSON."""

    archive: str | None
    """The directory; None for an archive in a bucket."""
    links: list[int]
    """Descriptors of sockets by which pieces of a bucket's files are asked for."""
    parent: int
    memory_bytes: int
    cpu_s: int
    threads: int
    unconfined: bool


class Job(TypedDict):
    """A query: what may be read, and the form of its result."""

    query: str
    format: str
    workspace: str
    channels: list[str]
    files: list[str]
    sizes: list[int]
    """Of files that are asked for by their numbers; none if they are in a directory."""
    output_bytes: int


class OutputTooLarge(Exception):
    """The result has more bytes than it may have."""


class Output:
    """Frames on standard output; pieces are gathered until one is worth sending."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._gathered = bytearray()
        self._left = 0

    def allow(self, output_bytes: int) -> None:
        """So many bytes of data may follow."""
        self._left = output_bytes

    def data(self, body: bytes) -> None:
        """More of the result. Raises `OutputTooLarge`."""
        self._left -= len(body)
        if self._left < 0:
            raise OutputTooLarge
        self._gathered += body
        while len(self._gathered) >= PIECE_BYTES:
            self._frame(b"D", bytes(self._gathered[:PIECE_BYTES]))
            del self._gathered[:PIECE_BYTES]

    def end(self) -> None:
        """The result is whole."""
        if self._gathered:
            self._frame(b"D", bytes(self._gathered))
        self._frame(b"Z", b"")

    def error(self, code: str, message: str, limit: str | None = None) -> None:
        """It failed."""
        self._frame(b"E", json.dumps({"error": code, "message": message, "limit": limit}).encode())

    def ready(self) -> None:
        """The walls stand and everything is loaded."""
        self._frame(b"R", b"")

    def _frame(self, kind: bytes, body: bytes) -> None:
        self._file.write(kind + len(body).to_bytes(4, "big") + body)
        self._file.flush()


def main() -> None:
    """Give up everything, load, answer one job."""
    setup: Setup = json.loads(sys.argv[1])
    output = Output(sys.stdout.buffer)
    try:
        raise_walls(setup)
        output.ready()
        line = sys.stdin.buffer.readline()
        if line:
            job: Job = json.loads(line)
            close_off(setup, job)
            answer(setup, job, output)
    except Misconfigured as error:
        output.error("unavailable", error.message)
    end()


def raise_walls(setup: Setup) -> None:
    """It can write nothing and call nobody afterwards, nor take too much. Raises `Misconfigured`, OSError."""
    walls.limit(memory_bytes=setup["memory_bytes"], cpu_s=setup["cpu_s"])
    confined = walls.confine([Path("/")])  # nothing can be written from here on, by no thread
    walls.die_with(setup["parent"])
    walls.require_walls(
        confined=confined, can_be_nobody=_can_be_nobody(setup), unconfined_allowed=setup["unconfined"]
    )
    for module in (*NEEDED, *(NEEDED_IN_A_BUCKET if setup["links"] else ())):
        importlib.import_module(module)  # while files can be read


def close_off(setup: Setup, job: Job) -> None:
    """Nothing but a directory's archive can be read from here on; the query has not been looked at yet."""
    if job["format"] == "arrow":
        importlib.import_module("pyarrow")  # a third of a start, which other formats are spared
    if _can_be_nobody(setup):
        walls.become_nobody()
        walls.die_with(setup["parent"])
    archive = [Path(setup["archive"])] if setup["archive"] else []
    walls.confine([*archive, *filter(Path.exists, DUCKDB_READS)])


def _can_be_nobody(setup: Setup) -> bool:
    return walls.can_become_nobody(Path(setup["archive"]) / "schema.parquet" if setup["archive"] else None)


def answer(setup: Setup, job: Job, output: Output) -> None:
    """Run the job's query and write its result or its error."""
    import duckdb  # noqa: PLC0415

    from archiver.sandbox_query import run  # noqa: PLC0415

    output.allow(job["output_bytes"])
    files = _files(setup, job)
    try:
        run(job, output.data, files=files, memory_bytes=setup["memory_bytes"], threads=setup["threads"])
        output.end()
    except ParleyError as error:
        output.error(error.code, error.message)
    except OutputTooLarge:
        output.error("query_limit", f"the result has more than {job['output_bytes']} bytes", "output")
    except (MemoryError, duckdb.OutOfMemoryException):
        output.error("query_limit", "the query needs more memory than it may have", "memory")
    except duckdb.IOException:  # its text names files of the server
        output.error("unavailable", "a file of the archive could not be read")
    except duckdb.Error as error:
        if files is not None and files.failed:
            output.error("unavailable", "a file of the archive could not be read")
        else:
            output.error(BadRequest.code, _first_line(error))


def _files(setup: Setup, job: Job) -> Files | None:
    if not setup["links"]:
        return None
    from archiver.sandbox_files import Files, Links  # noqa: PLC0415 - only a bucket needs them

    return Files(Links(setup["links"]), job["sizes"])


def end() -> NoReturn:
    """Without tidying up: DuckDB's threads and gigabytes go with the process."""
    sys.stdout.flush()
    os._exit(0)


def _first_line(error: BaseException) -> str:
    return str(error).strip()[:2_000]


if __name__ == "__main__":
    main()
