"""Relevance: the more of a text is about it the better, among the newest, and of what was found in time."""

from __future__ import annotations

from pathlib import Path

import pytest

from archiver.core.query import parse
from archiver.search import finder
from archiver.search.finder import Finder
from archiver.search.plan import Reader
from shared.ids import ChannelId, StreamSeq, UserId
from tests.support.archive import WORKSPACE
from tests.support.search import Log, ask, found, indexed, places


def test_relevant_ranks(tmp_path: Path) -> None:
    """The more of a text is about it, the better; of two that are as good the newer."""
    log = Log()
    log.say("tea", "tea tea tea")
    log.say("tea", "some say that tea is better than coffee, others do not care at all about such things")
    log.say("tea", "tea, then")
    log.say("tea", "tea, then")
    log.say("p_1", "tea tea tea tea")
    index = indexed(tmp_path, log)
    assert found(index, "tea", sort="relevant", readable=["tea"]) == ["tea/2", "tea/5", "tea/4", "tea/3"]
    assert found(index, "in:tea", sort="relevant")[0] == "tea/5"
    assert found(index, "during:2026", sort="relevant", readable=["tea"])[0] == "tea/5"
    scores = [hit.score for hit in ask(index, "tea", sort="relevant").hits]
    assert scores == sorted((score for score in scores if score is not None), reverse=True)
    index.close()


def test_only_the_newest_are_ranked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many, whatever a common word finds."""
    monkeypatch.setattr(finder, "RANKED_MAX", 3)
    log = Log()
    log.say("tea", "tea tea tea")
    for _ in range(3):
        log.say("tea", "well, tea")
    index = indexed(tmp_path, log)
    assert found(index, "tea", sort="relevant") == ["tea/5", "tea/4", "tea/3"]
    index.close()


def test_a_ranking_is_of_what_was_found_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When time is up, the newest hits until then are ranked."""
    monkeypatch.setattr(finder, "STEPS", 1000)
    log = Log()
    log.say("tea", "cup cup cup")
    for number in range(2000):
        log.say("tea", f"cup {number}")
    index = indexed(tmp_path, log)
    reader = Reader(WORKSPACE, UserId("ada"), frozenset({ChannelId("tea")}))
    asking = Finder(index, 60.0)
    whole = asking.relevant(parse("cup"), reader, StreamSeq(2**60), 20)
    assert (places(whole)[0], whole.capped) == ("tea/2", True)
    ticks = iter([0.0] * 12)
    monkeypatch.setattr(finder.time, "monotonic", lambda: next(ticks, 100.0))
    part = asking.relevant(parse("cup"), reader, StreamSeq(2**60), 20)
    assert "tea/2" not in places(part)
    assert len(part.hits) == 20
    index.close()
