"""Where the files of an archive are: in a directory, or in a bucket of an S3-compatible store.

Nothing is ever overwritten: a name is created once, by one of those who want it, and is durable when `create`
returns. That is all that the archive's commit asks of a store. Names are relative, `data/….parquet` for
example; a store within another one has a part of its names.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import duckdb

from shared.errors import Misconfigured

Reached = Callable[[str], None]
"""Told the name of each point of the commit protocol as it is passed; tests kill the process there."""

TEMPORARY_PREFIX = ".tmp-"
S3_SCHEME = "s3://"


class Entry(NamedTuple):
    """A file of a folder, and when it was made."""

    name: str
    made_s: float


class Store(Protocol):
    """What an archive needs. Everything blocks, and raises OSError when the store refuses."""

    @property
    def location(self) -> str:
        """A path or an `s3://` address: what people and DuckDB call it."""
        ...

    @property
    def name(self) -> str:
        """The last part of the location."""
        ...

    @property
    def is_far(self) -> bool:
        """Whether each look takes a request over the network."""
        ...

    def within(self, folder: str) -> Store:
        """The part of the store whose names begin with `folder/`."""
        ...

    def make(self, *folders: str) -> None:
        """See that these folders exist, where folders have to be made."""
        ...

    def names(self, folder: str) -> list[str]:
        """The files right in a folder, also what a dead writer left half done; none if there is no such."""
        ...

    def entries(self, folder: str) -> list[Entry]:
        """The same, with the time of each."""
        ...

    def folders(self) -> list[str]:
        """The names of the folders right in the store, in order."""
        ...

    def exists(self, name: str) -> bool:
        """Whether the store has it."""
        ...

    def read(self, name: str) -> bytes:
        """The whole content. Raises FileNotFoundError."""
        ...

    def piece(self, name: str, offset: int, length: int) -> bytes:
        """So many bytes from there on, which the content has. Raises FileNotFoundError."""
        ...

    def create(self, name: str, content: bytes, reached: Reached = ...) -> None:
        """Make a name that nobody has, durably. Raises FileExistsError."""
        ...

    def replace(self, name: str, content: bytes) -> None:
        """Put new content under a name, for the few files that nobody relies on being old."""
        ...

    def copy(self, name: str, target: Store, second: str) -> None:
        """Give a content a second name in a store of the same kind; one that is there already is the same."""
        ...

    def settle(self, *folders: str) -> None:
        """Make what `copy` named in these folders durable."""
        ...

    def remove(self, name: str) -> None:
        """Take a name away, if it is there."""
        ...

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Teach DuckDB to read what `location` names."""
        ...


Archive = Store | Path | str
"""An open store, or where it is."""


def open_store(archive: Archive, environ: Mapping[str, str] | None = None) -> Store:
    """The store at a location. Raises `Misconfigured` for one that is none.

    For `s3://bucket/prefix`, keys, region and endpoint are taken from the usual `AWS_…` variables.
    """
    if not isinstance(archive, str | Path):
        return archive
    if str(archive).startswith(S3_SCHEME):
        from shared.archive_s3 import S3Store  # noqa: PLC0415 - only who has a bucket pays for its client

        return S3Store.at(str(archive), os.environ if environ is None else environ)
    if "://" in str(archive):
        raise Misconfigured(f"an archive is a directory or {S3_SCHEME}bucket/prefix, not {archive}")
    return LocalStore(Path(archive))


class LocalStore:
    """A directory. No data library syncs its files, so it is done here: bytes, then the name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def location(self) -> str:
        """The absolute path."""
        return str(self.directory.absolute())

    @property
    def name(self) -> str:
        """The name of the directory."""
        return self.directory.name

    @property
    def is_far(self) -> bool:
        """No."""
        return False

    def within(self, folder: str) -> LocalStore:
        """A directory below."""
        return LocalStore(self.directory / folder)

    def make(self, *folders: str) -> None:
        """Make folders, durably; the directory itself and its parents, too."""
        for folder in folders:
            (self.directory / folder).mkdir(parents=True, exist_ok=True)
        self.directory.mkdir(parents=True, exist_ok=True)
        _sync_directory(self.directory)
        _sync_directory(self.directory.parent)

    def names(self, folder: str) -> list[str]:
        """As the directory lists them."""
        try:
            return [path.name for path in (self.directory / folder).iterdir()]
        except FileNotFoundError:
            return []

    def entries(self, folder: str) -> list[Entry]:
        """With the time of the last change."""
        try:
            return [Entry(path.name, _modified_s(path)) for path in (self.directory / folder).iterdir()]
        except FileNotFoundError:
            return []

    def folders(self) -> list[str]:
        """Names of the directories."""
        try:
            return sorted(path.name for path in self.directory.iterdir() if path.is_dir())
        except FileNotFoundError:
            return []

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.directory / name).exists()

    def read(self, name: str) -> bytes:
        """The content."""
        return (self.directory / name).read_bytes()

    def piece(self, name: str, offset: int, length: int) -> bytes:
        """One read."""
        with (self.directory / name).open("rb") as file:
            return os.pread(file.fileno(), length, offset)

    def create(self, name: str, content: bytes, reached: Reached = lambda _: None) -> None:
        """Under a temporary name, synced, then linked: the second of two who link hears EEXIST."""
        path = self.directory / name
        what = path.parent.name
        temporary = path.with_name(TEMPORARY_PREFIX + secrets.token_hex(8))
        try:
            _write_synced(temporary, content, lambda point: reached(f"{what}-{point}"))
            os.link(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        reached(f"{what}-linked")
        _sync_directory(path.parent)
        reached(f"{what}-directory-synced")

    def replace(self, name: str, content: bytes) -> None:
        """All of it or the old one."""
        path = self.directory / name
        temporary = path.with_name(TEMPORARY_PREFIX + secrets.token_hex(8))
        try:
            _write_synced(temporary, content, lambda _: None)
            temporary.rename(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)

    def copy(self, name: str, target: Store, second: str) -> None:
        """By a hard link."""
        assert isinstance(target, LocalStore), "an archive is in one store"
        with contextlib.suppress(FileExistsError):  # the try before this one died behind it
            os.link(self.directory / name, target.directory / second)

    def settle(self, *folders: str) -> None:
        """Sync the folders, the directory, and what is above it."""
        for folder in folders:
            _sync_directory(self.directory / folder)
        for directory in (self.directory, self.directory.parent, self.directory.parent.parent):
            _sync_directory(directory)

    def remove(self, name: str) -> None:
        """Unlink; readers that have it open keep it."""
        (self.directory / name).unlink(missing_ok=True)

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """DuckDB reads directories as it is."""


def _write_synced(path: Path, content: bytes, reached: Reached) -> None:
    """A new file whose bytes are on the disk when this returns."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        reached("written")
        os.fsync(file.fileno())
    reached("synced")


def _sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _modified_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
