"""One finder, asked more than once: whatever has changed meanwhile, it answers as of now (AT-46)."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from archiver.core.query import parse
from archiver.search import finder
from archiver.search.finder import Finder
from archiver.search.plan import Reader
from shared.errors import Unavailable
from shared.ids import ChannelId, StreamSeq, UserId
from tests.support.archive import WORKSPACE
from tests.support.search import Log, indexed, places, record


def test_what_takes_too_long_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next question is answered all the same."""
    monkeypatch.setattr(finder, "STEPS", 1)
    log = Log()
    for number in range(50):
        log.say("tea", f"cup {number}")
    index = indexed(tmp_path, log)
    reader = Reader(WORKSPACE, UserId("ada"), frozenset({ChannelId("tea")}))
    for _ in range(2):
        with pytest.raises(Unavailable, match="took longer"):
            Finder(index, -1.0).newest(parse("cup"), reader, StreamSeq(2**60), 20, None)
    assert Finder(index, 60.0).newest(parse("cup"), reader, StreamSeq(2**60), 20, None).count == 50
    index.close()


def test_what_one_reader_may_read_changes(tmp_path: Path) -> None:
    """Between two questions to the same finder: one channel more, one less, one that is new."""
    log = Log()
    log.say("tea", "a cup")
    log.say("p_1", "secret cup")
    index = indexed(tmp_path, log)
    asking = Finder(index, 60.0)

    def cups(*channels: str) -> set[str]:
        reader = Reader(WORKSPACE, UserId("ada"), frozenset(map(ChannelId, channels)))
        reply = asking.newest(parse("cup"), reader, StreamSeq(2**60), 20, None)
        return {hit.channel for hit in reply.hits}

    assert cups("tea", "go") == {"tea"}
    assert cups("tea", "go", "p_1") == {"tea", "p_1"}
    assert cups("tea", "go") == {"tea"}
    log.say("go", "another cup")
    record(index, log)
    assert cups("tea", "go") == {"tea", "go"}
    assert cups() == set()
    index.close()


def test_readers_that_are_kept_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asked longest ago is counted again, and finds the same."""
    monkeypatch.setattr(finder, "READERS_KEPT", 2)
    log = Log()
    log.say("tea", "a cup")
    index = indexed(tmp_path, log)
    asking = Finder(index, 60.0)
    for user in ("ada", "bo", "cy", "ada"):
        reader = Reader(WORKSPACE, UserId(user), frozenset({ChannelId("tea")}))
        assert asking.newest(parse("cup"), reader, StreamSeq(2**60), 20, None).count == 1
        assert len(asking._readers) <= 2
    index.close()


def test_a_new_file_has_new_numbers(tmp_path: Path) -> None:
    """What a finder has learnt of channels is forgotten with the file that it was learnt of (AT-46)."""
    log = Log()
    log.say("p_1", "secret cup")
    log.say("tea", "open cup")
    index = indexed(tmp_path, log)
    reader = Reader(WORKSPACE, UserId("ada"), frozenset({ChannelId("tea")}))
    asking = Finder(index, 60.0)
    assert places(asking.newest(parse("cup"), reader, StreamSeq(2**60), 20, None)) == ["tea/2"]
    index.begin_anew()
    other = Log()
    other.say("tea", "open cup")
    other.say("p_1", "secret cup")
    record(index, other)
    assert places(asking.newest(parse("cup"), reader, StreamSeq(2**60), 20, None)) == ["tea/2"]
    assert places(asking.relevant(parse("cup"), reader, StreamSeq(2**60), 20)) == ["tea/2"]
    index.close()


def test_apsw_is_built_for_it() -> None:
    """What the index rests on: deleting from a table that does not hold its texts."""
    assert "ENABLE_FTS5" in apsw.compile_options
