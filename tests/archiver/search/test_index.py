"""The index is derived: damage, other epochs and two writers leave what the log says."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace

from archiver.search import index as search_index
from archiver.search.index import At, SearchIndex
from shared import events as e
from shared.ids import Epoch, StreamSeq
from tests.support.archive import ALICE, posted
from tests.support.search import EPOCH, Log, found, indexed, record
from tests.support.traces import traces

WHO = {"id": posted("").id, "author": ALICE}


@pytest.fixture
def log() -> Log:
    """Some messages with an edit, a deletion and a reaction."""
    made = Log()
    for number in range(40):
        made.say("tea" if number % 3 else "go", f"cup number {number} of tea")
    made.edit("tea", 3, "a mug")
    made.delete("tea", 4)
    made.react("go", 2)
    return made


def dump(index: SearchIndex) -> list[object]:
    """What the index says, whatever its pages and its numbers for channels and authors look like."""
    with index.reading() as reader:
        rows = [row for sql in DUMPED for row in reader.execute(sql)]
        for word in ("cup", "mug", "tea", "number"):
            rows += reader.execute("SELECT rowid FROM words WHERE words MATCH ?", (word,)).fetchall()
    return [*rows, *found(index, "in:tea"), *found(index, "from:alice -in:tea")]


DUMPED = (
    "SELECT * FROM position",
    "SELECT stream_seq, c.channel, seq, a.author, at_ms, happened_ms, thread, text_seq, flags"
    " FROM docs JOIN channels c ON c.no = docs.channel"
    " JOIN authors a ON a.no = docs.author",
    "SELECT doc, a.author, emoji FROM reactions r JOIN authors a ON a.no = r.author",
    "SELECT workspace, channel FROM channels ORDER BY channel",
    "SELECT folded, c.channel FROM names n JOIN channels c ON c.no = n.channel ORDER BY 1, 2",
    "SELECT * FROM hours",
)


def test_it_goes_on_where_it_was(tmp_path: Path, log: Log) -> None:
    """Closed and opened, in batches of any size, it says the same."""
    one = indexed(tmp_path / "one", log)
    for size in (1, 7):
        other = SearchIndex(tmp_path / str(size) / "p00.search.sqlite", EPOCH)
        half = Log()
        half.events = log.events[:20]
        record(other, half, size)
        other.close()
        other = indexed(tmp_path / str(size), log, size)
        assert dump(other) == dump(one)
        other.close()
    one.close()


@pytest.mark.parametrize("damage", ["garbage", "empty", "foreign", "format", "removed"])
def test_what_is_unusable_begins_anew(tmp_path: Path, log: Log, damage: str) -> None:
    """A file that is no index of this epoch is replaced, and can be filled again."""
    index = indexed(tmp_path, log)
    before = dump(index)
    index.close()
    path = tmp_path / "p00.search.sqlite"
    if damage in {"foreign", "format"}:
        column = "epoch" if damage == "foreign" else "format"
        apsw.Connection(str(path)).execute(f"UPDATE position SET {column} = '99'")
    elif damage == "removed":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "empty" else b"\x07" * 10_000)
    again = SearchIndex(path, EPOCH)
    assert again.at() == At(StreamSeq(0), 0)
    record(again, log)
    assert dump(again) == before
    again.close()


def test_damage_met_later_is_an_error_of_its_own(tmp_path: Path, log: Log) -> None:
    """It is told apart from a refusing disk: then the feed begins anew."""
    index = indexed(tmp_path, log)
    index.close()
    path = tmp_path / "p00.search.sqlite"
    content = bytearray(path.read_bytes())
    content[8192:] = b"\x55" * (len(content) - 8192)
    path.write_bytes(content)
    index = SearchIndex(path, EPOCH)
    with pytest.raises((apsw.CorruptError, apsw.NotADBError)):
        found(index, "cup")
    index.begin_anew()
    record(index, log)
    assert found(index, "mug") == ["tea/3"]
    index.close()


def test_two_writers_write_it_once(tmp_path: Path, log: Log) -> None:
    """Who is late is told so, changes nothing, and goes on from where the other has got to."""
    one, other = (SearchIndex(tmp_path / "p00.search.sqlite", EPOCH) for _ in range(2))

    def write(index: SearchIndex) -> int:
        refused = 0
        while (position := index.at().stream_seq) < len(log.events):
            batch = log.events[position : position + 3]
            refused += not index.record(position, batch, At(batch[-1].stream_seq, batch[-1].at_us))
        return refused

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, (one, other)))
    assert not one.record(StreamSeq(0), log.events, log.at)
    alone = indexed(tmp_path / "alone", log)
    assert dump(one) == dump(other) == dump(alone)
    for index in (one, other, alone):
        index.close()


def test_many_may_open_it_at_once(tmp_path: Path) -> None:
    """Where there is none, and where all of them find one that is unusable."""

    def opened(epoch: str) -> int:
        index = SearchIndex(tmp_path / "p00.search.sqlite", Epoch(epoch))
        try:
            return index.at().stream_seq
        finally:
            index.close()

    with ThreadPoolExecutor(4) as pool:
        for epoch in ("e1", "e2"):
            assert list(pool.map(opened, [epoch] * 4)) == [0] * 4


@pytest.mark.parametrize("point", ["search-recording", "search-recorded"])
def test_death_while_it_is_written(tmp_path: Path, log: Log, point: str) -> None:
    """Killed at any batch, before or behind its commit, it holds whole batches, and comes to the same end."""
    whole = indexed(tmp_path / "whole", log)
    path = tmp_path / "p00.search.sqlite"
    for nth in range(1, 6):
        pid = os.fork()
        if pid == 0:
            passed = 0

            def reached(name: str, nth: int = nth) -> None:
                nonlocal passed
                passed += name == point
                if passed == nth:
                    os.kill(os.getpid(), signal.SIGKILL)

            record(SearchIndex(path, EPOCH, reached), log, 4)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) in {-signal.SIGKILL, 0}
        index = SearchIndex(path, EPOCH)
        assert index.at().stream_seq % 4 == 0 or index.at() == log.at
        index.close()
    index = indexed(tmp_path, log, 4)
    assert dump(index) == dump(whole)
    index.close()
    whole.close()


WORDS = ["Xylophone", "zebrafish", "Xagain", "ocarina", "vuvuzela", "theremin", "🦓"]


@pytest.fixture
def erased(log: Log) -> Log:
    """Messages that were said, edited, deleted, reacted to, and then erased."""
    first = log.say("tea", "Xylophone zebrafish")
    log.delete("tea", first)
    log.erase("tea", first)
    log.say("tea", "ocarina", "bob")
    log.say("tea", "Xagain", "bob")
    last = log.say("go", "vuvuzela")
    log.react("go", last, "🦓")
    log.edit("go", last, "theremin")
    log.erase("go", last)
    log.erase("tea", user="bob")
    return log


def unpurged(index: SearchIndex) -> bool:
    """Whether it says that bytes may be left."""
    return index.is_purge_due


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_erased_messages_leave_no_bytes(tmp_path: Path, erased: Log, size: int) -> None:
    """Neither words nor reactions are in any file of the index, also of those that were deleted before."""
    index = indexed(tmp_path, erased, size)
    assert [found(index, word) for word in WORDS[:-1]] == [[]] * 6
    assert found(index, "has:reaction in:go") == ["go/2"]
    if size < 1000:
        assert traces(tmp_path, [word.lower() for word in WORDS]) != []
        assert unpurged(index)
    index.purge()
    assert not unpurged(index)
    assert traces(tmp_path, WORDS + [word.lower() for word in WORDS]) == []
    assert found(index, "mug") == ["tea/3"]
    index.close()


def test_what_was_never_written_needs_no_purge(tmp_path: Path) -> None:
    """A rebuild from emptied segments writes nothing of what is erased, and the file not twice."""
    log = Log()
    gone = replace(posted("", ALICE), erased=True)
    ref = log.write("tea", gone)
    log.write("tea", e.MessageEdited(**WHO, ref=ref, ref_author=ALICE, text="", erased=True))
    log.erase("tea", ref)
    log.erase("tea")
    log.say("tea", "here")
    index = indexed(tmp_path, log, 2)
    assert not unpurged(index)
    assert found(index, "from:alice") == ["tea/6"]
    index.close()


def test_an_erased_message_is_not_found_by_later_texts(tmp_path: Path) -> None:
    """Neither an edit nor a reaction that was on its way brings it back."""
    for size in (1, 100):
        log = Log()
        one, two = log.say("tea", "one"), log.say("tea", "two")
        log.erase("tea", one)
        log.erase("tea")
        for ref in (one, two):
            log.edit("tea", ref, "risen")
            log.react("tea", ref)
        log.say("tea", "three")
        index = indexed(tmp_path / str(size), log, size)
        assert found(index, "risen") == []
        assert found(index, "from:alice") == ["tea/10"]
        assert found(index, "has:reaction") == []
        index.close()


POINTS = ["search-recording", "search-recorded", "search-optimized", "search-vacuumed", "search-purging"]


@pytest.mark.parametrize("point", POINTS)
def test_death_before_the_bytes_are_gone(tmp_path: Path, erased: Log, point: str) -> None:
    """Whatever line it dies on, the next start knows that the file is still to be written anew."""
    path = tmp_path / "p00.search.sqlite"
    for nth in (1, 2):
        pid = os.fork()
        if pid == 0:
            passed = 0

            def reached(name: str, nth: int = nth) -> None:
                nonlocal passed
                passed += name == point
                if passed == nth:
                    os.kill(os.getpid(), signal.SIGKILL)

            dying = SearchIndex(path, EPOCH, reached)
            record(dying, erased, 30)
            dying.purge()
            os._exit(0)
        os.waitpid(pid, 0)
    index = SearchIndex(path, EPOCH)
    record(index, erased, 30)
    index.purge()
    assert traces(tmp_path, WORDS + [word.lower() for word in WORDS]) == []
    assert found(index, "mug") == ["tea/3"]
    index.close()


def test_a_reader_in_the_way_is_waited_for(
    tmp_path: Path, erased: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process that reads keeps the log of writes alive: it stays due until that is gone."""
    monkeypatch.setattr(search_index, "BUSY_TIMEOUT_MS", 0)
    index = indexed(tmp_path, erased, 3)
    other = apsw.Connection(str(tmp_path / "p00.search.sqlite"))
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM docs").fetchall()
    with pytest.raises(apsw.BusyError):
        index.purge()
    assert unpurged(index)
    other.close()
    index.purge()
    assert not unpurged(index)
    assert traces(tmp_path, WORDS + [word.lower() for word in WORDS]) == []
    index.close()
