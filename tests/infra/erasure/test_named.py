"""What an archive's erasures name is found in each of its files, whatever the file is to the archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.erasure.named import read_named, rows_with_text
from infra.erasure.traces import Needles, traces_in
from shared import events as e
from shared.archive_files import epochs_set_aside
from shared.archive_rows import Row, recorded_of, row_of
from shared.archive_store import Store, open_store
from shared.clock import rfc3339
from shared.erasure import emptied
from tests.support.archived import START_US, archive_of, recorded
from tests.support.events import example
from tests.support.seaweed import Seaweed, new_archive


def said(author: str, text: str, number: int) -> e.MessagePosted:
    """A message with an id of its own."""
    return example(e.MessagePosted, author=author, text=text, id=f"01890000-0000-7000-8000-{number:012d}")


ONE, TWO, THREE = said("ada", "Xone", 1), said("bob", "Xtwo", 2), said("ada", "Xthree", 3)
EDIT = example(e.MessageEdited, author="ada", ref=2, ref_author="ada", text="Xedit")
LATER = said("bob", "kept", 4)
CREATED = example(e.ChannelCreated, author="ada", members=("bob",))
LOG = [
    CREATED,
    ONE,
    TWO,
    THREE,
    EDIT,
    example(e.MessageErased, author="operator", ref=2),
    example(e.UserErased, author="operator", user="bob"),
    LATER,
]
NAMED = [2, 3, 5]


EXPIRING = [
    CREATED,
    ONE,
    TWO,
    example(e.ChannelRetentionSet, author="ada", days=1),
    example(e.MessagesExpired, author="parley", before=3, older_than="2026-06-01T00:00:00.000Z"),
    EDIT,
]


def without(rows: list[Row]) -> list[Row]:
    """The rows as erasure leaves them."""
    return [row_of(*emptied(recorded_of(row))) if row.seq in NAMED else row for row in rows]


@pytest.fixture(params=["directory", pytest.param("bucket", marks=pytest.mark.faults)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Where an archive can be, of each kind."""
    if request.param == "directory":
        return open_store(tmp_path / "archive")
    server: Seaweed = request.getfixturevalue("bucket_server")
    return open_store(new_archive(), server.environ)


def written(store: Store, rows: list[Row]) -> Store:
    """An archive that holds these."""
    store.make("p00")
    archive_of(store, rows)
    return store


def found(store: Store) -> list[int]:
    """The numbers of the rows that have a text and must not, in all files."""
    named = read_named(store)
    parts = [(store, False), *((aside, True) for aside in epochs_set_aside(store))]
    return [row.seq for part, over in parts for _, row in rows_with_text(part, named, is_over=over)]


def test_rows_are_named(store: Store) -> None:
    """A message, its edits, all of a user up to then; what was said since is not."""
    written(store, recorded("tea", LOG))
    named = read_named(store)
    assert sorted(at for _, at in named.positions) == NAMED
    assert sorted(found(store)) == NAMED
    assert {text for _, text in traces_in(store, Needles(["Xone", "Xedit", "nowhere"]))} == {"Xone"}


def test_every_file_counts(store: Store) -> None:
    """One that no manifest names any more, and one of an epoch that is over, where numbers differ."""
    rows = recorded("tea", LOG)
    written(store, without(rows))
    assert found(store) == []
    assert list(traces_in(store, Needles(["Xone", "Xtwo", "Xedit"]))) == []
    spare = written(store.within("spare"), rows)
    (segment,) = spare.within("p00").names("data")
    spare.within("p00").copy(f"data/{segment}", store.within("p00"), f"data/{segment}")
    assert sorted(found(store)) == NAMED
    store.within("p00").remove(f"data/{segment}")
    lost = example(e.MessageEdited, author="ada", ref=4, ref_author="ada", text="Xlost")
    over = recorded("tea", [CREATED, THREE, LATER, ONE, lost, said("bob", "Xlost too", 9)])
    written(store.within("epochs").within("e0"), over)
    assert sorted(found(store)) == [4, 5, 6], "not what is kept: 2 and 3"


def test_what_has_expired_is_named(store: Store) -> None:
    """By number in the present epoch, but for edits that came after; by its time in those that are over."""
    written(store, recorded("tea", EXPIRING))
    assert found(store) == [2]
    over = recorded("tea", [CREATED, THREE, LATER, EDIT])
    named = {START_US - 1: [], START_US + 1_000: [2, 3, 4]}
    for at_us, numbers in named.items():
        archive = store.within(str(at_us))
        expiry = example(e.MessagesExpired, author="parley", before=3, older_than=rfc3339(at_us))
        written(archive, recorded("tea", [*EXPIRING[:4], expiry]))
        written(archive.within("epochs").within("e0"), over)
        assert sorted(found(archive)) == sorted([2, *numbers])
