"""What is erased has no text in the archives of epochs that are over, whatever its number there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from archiver.core.hot import NOTHING_YET
from archiver.partition import PartitionArchive
from shared import events as e
from shared.archive_files import epochs_set_aside, pin, scan
from shared.archive_store import open_store
from shared.envelope import StoredMessage
from shared.events import encode
from shared.ids import Epoch, Partition, StreamSeq
from shared.retention import DAY_US
from shared.subjects import channel_subject
from tests.support.archive import key_of
from tests.support.events import example
from tests.support.traces import traces

TEA = key_of("tea")
LATER_US = 3 * DAY_US
SECRETS = ["Xone", "Xtwo", "Xedit", "Xonly"]


def said(author: str, text: str, number: int) -> e.KnownEvent:
    """A message with an id of its own."""
    return example(e.MessagePosted, author=author, text=text, id=f"01890000-0000-7000-8000-{number:012d}")


CREATED = example(e.ChannelCreated, author="ada", members=("bob",))
ONE, OTHER = said("ada", "Xone", 1), said("ada", "kept", 4)
TWO, LATER = said("bob", "Xtwo", 2), said("bob", "kept", 3)
OLD = [
    CREATED,
    ONE,
    TWO,
    example(e.MessageEdited, author="ada", ref=2, ref_author="ada", text="Xedit"),
    LATER,
    said("bob", "Xonly", 5),
    OTHER,
]
NEW = [
    CREATED,
    TWO,
    OTHER,
    ONE,
    example(e.MessageErased, author="operator", ref=4),
    example(e.UserErased, author="operator", user="bob"),
    LATER,
]


def archive_at(
    directory: Path, epoch: str, reached: Callable[[str], None] = lambda _: None
) -> PartitionArchive:
    """The partition's archive in an epoch, which follows `e1`."""
    store, cache = open_store(directory), directory / "cache"
    archive = PartitionArchive(store, cache, Partition(0), Epoch(epoch), reached, replaced=[Epoch("e1")])
    archive.open()
    return archive


def fill(archive: PartitionArchive, events: Iterable[e.KnownEvent], young: int = 99) -> None:
    """Take these in, those from the number `young` on as of some later day, and commit them."""
    archive.hot.load(TEA, NOTHING_YET)
    for number, event in enumerate(events, 1):
        subject = channel_subject(Partition(0), TEA)
        archive.take(
            [StoredMessage(subject, encode(event), {}, StreamSeq(number), 7 if number < young else LATER_US)]
        )
    batch = archive.hot.cut()
    archive.committed(batch, archive.write(batch))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where an epoch was set aside."""
    old = archive_at(tmp_path, "e1")
    fill(old, OLD)
    old.close()
    new = archive_at(tmp_path, "e2")
    fill(new, NEW)
    new.close()
    assert traces(tmp_path / "epochs", ["Xone"]) != []
    return tmp_path


def erase(directory: Path, reached: Callable[[str], None] = lambda _: None) -> None:
    """As the compactor does it."""
    archive = archive_at(directory, "e2", reached)
    try:
        archive.erase(archive.erasures)
    finally:
        archive.close()


def texts(directory: Path) -> list[str | None]:
    """What the archive that was set aside says, by number."""
    (aside,) = epochs_set_aside(directory)
    return [row.text for row in scan(aside)]


def test_messages_by_id_and_users_by_name(directory: Path) -> None:
    """What the new epoch lost is erased with its author or its message; what was said since is kept."""
    erase(directory)
    assert traces(directory / "epochs", SECRETS) == []
    assert texts(directory) == [None, "", "", "", "kept", "", "kept"]
    (aside,) = epochs_set_aside(directory)
    (manifest,) = pin(aside).manifests
    assert (manifest.epoch, manifest.hi, manifest.retired) == (Epoch("e1"), 7, ())
    before = manifest.version
    erase(directory)
    assert pin(aside).manifests[0].version == before, "nothing is left to do"


POINTS = ["data-written", "data-synced", "data-linked", "manifest-written", "manifest-linked"]


@pytest.mark.parametrize("point", POINTS)
def test_it_can_be_repeated(directory: Path, point: str) -> None:
    """The disk refuses somewhere, or it dies there: done again, nothing is left."""

    passed = 0

    def refusing(name: str) -> None:
        nonlocal passed
        passed += name == point
        if name == point and passed == (2 if name.startswith("manifest") else 1):  # behind its opening
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        erase(directory, refusing)
    erase(directory)
    assert traces(directory / "epochs", SECRETS) == []
    assert texts(directory) == [None, "", "", "", "kept", "", "kept"]


def test_what_expires_is_from_before_the_same_moment(tmp_path: Path) -> None:
    """Messages and their edits, whatever their number, known in the present log or not; younger ones stay."""
    old = archive_at(tmp_path, "e1")
    lost_edit = example(e.MessageEdited, author="ada", ref=2, ref_author="ada", text="Xlate edit")
    was = [CREATED, said("ada", "Xone", 1), said("bob", "Xlost", 8), lost_edit, said("bob", "young", 9)]
    fill(old, was, young=4)
    old.close()
    new = archive_at(tmp_path, "e2")
    kept = example(e.ChannelRetentionSet, author="ada", days=1)
    day = "1970-01-02T00:00:00.000Z"
    expiry = example(e.MessagesExpired, author="parley", since=1, before=3, older_than=day)
    fill(new, [CREATED, ONE, kept, expiry], young=3)
    new.close()
    erase(tmp_path)
    assert texts(tmp_path) == [None, "", "", "", "young"]
    assert traces(tmp_path / "epochs", ["Xone", "Xlost", "Xlate"]) == []
