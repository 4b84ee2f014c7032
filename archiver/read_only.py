"""A store that refuses to be changed: whoever reads an archive that somebody else writes gets no other."""

from __future__ import annotations

import errno

import duckdb

from shared.archive_store import Entry, Reached, Store


class ReadOnlyStore:
    """Reads as the store behind it; whatever would write raises OSError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def location(self) -> str:
        """As people and DuckDB call it."""
        return self._store.location

    @property
    def name(self) -> str:
        """The last part of the location."""
        return self._store.name

    @property
    def is_far(self) -> bool:
        """As the store behind it."""
        return self._store.is_far

    def within(self, folder: str) -> ReadOnlyStore:
        """What is below cannot be changed either."""
        return ReadOnlyStore(self._store.within(folder))

    def names(self, folder: str) -> list[str]:
        """As the store has them."""
        return self._store.names(folder)

    def entries(self, folder: str) -> list[Entry]:
        """As the store has them."""
        return self._store.entries(folder)

    def folders(self) -> list[str]:
        """As the store has them."""
        return self._store.folders()

    def exists(self, name: str) -> bool:
        """Whether the store has it."""
        return self._store.exists(name)

    def read(self, name: str) -> bytes:
        """The content. Raises FileNotFoundError."""
        return self._store.read(name)

    def piece(self, name: str, offset: int, length: int) -> bytes:
        """A part of the content. Raises FileNotFoundError."""
        return self._store.piece(name, offset, length)

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Teach DuckDB to read it."""
        self._store.prepare(connection)

    def make(self, *folders: str) -> None:
        """Refused."""
        raise self._refusal(*folders)

    def create(self, name: str, content: bytes, reached: Reached = lambda _: None) -> None:  # noqa: ARG002
        """Refused."""
        raise self._refusal(name)

    def replace(self, name: str, content: bytes) -> None:  # noqa: ARG002
        """Refused."""
        raise self._refusal(name)

    def copy(self, name: str, target: Store, second: str) -> None:  # noqa: ARG002
        """Refused: the second name would be a change, too."""
        raise self._refusal(second)

    def settle(self, *folders: str) -> None:
        """Refused."""
        raise self._refusal(*folders)

    def remove(self, name: str) -> None:
        """Refused."""
        raise self._refusal(name)

    def _refusal(self, *names: str) -> OSError:
        return OSError(errno.EROFS, f"a reader does not write {', '.join(names)} in {self.location}")
