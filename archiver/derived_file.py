"""Files that are derived: who opens or replaces one is alone with it, a reader always with its own."""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from shared.errors import Misconfigured

OWNER = "owner.lock"


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """One at a time, whatever process it is in."""
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def kept(directory: Path, *, by_reader: bool) -> Iterator[None]:
    """Have a directory of derived files: a reader by itself, archivers that write together with others.

    Raises `Misconfigured` if somebody has it with whom it cannot be shared.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / OWNER).open("a") as lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_EX if by_reader else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Misconfigured(
                f"PARLEY_ARCHIVE_CACHE: another archiver has {directory}; a reader needs one of its own"
            ) from None
        yield


@contextlib.contextmanager
def transaction(
    connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE"
) -> Iterator[sqlite3.Connection]:
    """All of what the block writes, or nothing."""
    connection.execute(begin)
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
