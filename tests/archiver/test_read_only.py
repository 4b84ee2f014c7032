"""A store behind which nothing can be changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from archiver.read_only import ReadOnlyStore
from shared.archive_store import LocalStore, Store

CHANGES: dict[str, Callable[[Store], object]] = {
    "make": lambda store: store.make("data"),
    "create": lambda store: store.create("new", b""),
    "replace": lambda store: store.replace("a", b""),
    "copy": lambda store: store.copy("a", store, "b"),
    "settle": lambda store: store.settle("data"),
    "remove": lambda store: store.remove("a"),
}


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Two files, one of them further down."""
    store = LocalStore(tmp_path / "store")
    store.make("below")
    store.create("a", b"one")
    store.create("below/b", b"two")
    return store


@pytest.mark.parametrize("change", CHANGES)
def test_it_refuses_to_be_changed(store: LocalStore, change: str) -> None:
    """Whatever is tried, at the top and below."""
    for part in (ReadOnlyStore(store), ReadOnlyStore(store).within("below")):
        with pytest.raises(OSError, match="a reader does not write"):
            CHANGES[change](part)
    assert sorted(path.name for path in store.directory.rglob("*")) == ["a", "b", "below"]
    assert store.read("a") == b"one"


def test_it_reads_what_the_store_has(store: LocalStore) -> None:
    """Every question has the answer of the store itself."""
    reading = ReadOnlyStore(store)
    assert (reading.location, reading.name) == (store.location, store.name)
    assert (reading.names("below"), reading.folders()) == (["b"], ["below"])
    assert reading.entries("below") == store.entries("below")
    assert (reading.exists("a"), reading.exists("c")) == (True, False)
    assert reading.within("below").read("b") == b"two"
    assert reading.piece("below/b", 1, 2) == b"wo"
    with duckdb.connect() as db:
        reading.prepare(db)
    with pytest.raises(FileNotFoundError):
        reading.read("c")
