"""What events make of the index: edits, deletions, reactions, names; void events make nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from shared import events as e
from shared.ids import new_command_id
from tests.support.archive import ALICE
from tests.support.events import NOW_MS
from tests.support.search import Log, found, indexed, record

SIZES = pytest.mark.parametrize("size", [1, 3, 1000])


@SIZES
def test_edits_replace_and_deletions_remove(tmp_path: Path, size: int) -> None:
    """The last edit counts; a message keeps its place in the order; a deleted one stays deleted."""
    log = Log()
    first = log.say("tea", "old words")
    second = log.say("tea", "stays here")
    log.edit("tea", first, "interim words")
    log.edit("tea", first, "new words")
    gone = log.say("tea", "gone words")
    log.delete("tea", gone)
    log.edit("tea", gone, "risen words")
    index = indexed(tmp_path, log, size)
    assert found(index, "words") == [f"tea/{first}"]
    assert [found(index, word) for word in ("old", "interim", "gone", "risen")] == [[], [], [], []]
    assert found(index, "from:alice") == [f"tea/{second}", f"tea/{first}"]
    index.close()


@SIZES
def test_what_is_no_message_is_not_touched(tmp_path: Path, size: int) -> None:
    """Edits of other events, of nothing, of what comes later, and void ones change nothing."""
    log = Log()
    log.edit("tea", 1, "the creation")
    log.edit("tea", 99, "nothing")
    log.edit("tea", 5, "too early")
    log.say("tea", "here I am")
    log.write(
        "tea", e.MessagePosted(id=new_command_id(NOW_MS), author=ALICE, text="void"), void="not a member"
    )
    log.delete("tea", 6)
    log.react("tea", 6)
    index = indexed(tmp_path, log, size)
    assert found(index, "from:alice") == ["tea/5"]
    assert [found(index, word) for word in ("creation", "nothing", "early", "void")] == [[]] * 4
    index.close()


@SIZES
def test_reactions(tmp_path: Path, size: int) -> None:
    """A message has a reaction as long as anybody's is left; the same twice counts once."""
    log = Log()
    one, other = log.say("tea", "one"), log.say("tea", "other")
    log.react("tea", one, "👍", author="bob")
    log.react("tea", one, "👍", author="bob")
    log.react("tea", one, "👍", author="carol")
    log.react("tea", one, "👍", author="bob", back=True)
    log.react("tea", other, "👍")
    log.react("tea", other, "🎉", back=True)
    index = indexed(tmp_path, log, size)
    assert found(index, "has:reaction") == [f"tea/{other}", f"tea/{one}"]
    log.react("tea", one, "👍", author="carol", back=True)
    log.delete("tea", other)
    record(index, log)
    assert found(index, "has:reaction") == []
    assert found(index, "one -has:reaction") == [f"tea/{one}"]
    index.close()


def happen(log: Log, rng: random.Random) -> None:
    """One event of any sort, about any message."""
    channel, ref = rng.choice(["tea", "go"]), rng.randint(1, 40)
    match rng.randrange(7):
        case 0:
            log.say(channel, rng.choice(["red fox", "blue fox", "red hen", "東京 fox"]))
        case 1:
            log.say(channel, "red link https://x.org", thread=ref)
        case 2:
            log.edit(channel, ref, rng.choice(["green fox", "hen"]))
        case 3:
            log.delete(channel, ref)
        case 4:
            log.react(channel, ref, back=rng.random() < 0.3)
        case 6:
            if rng.random() < 0.2:
                log.expire(channel, rng.randint(2, 20))
        case 5:
            log.erase(channel, ref)
            if rng.random() < 0.1:
                log.erase(channel)


def test_the_size_of_batches_does_not_matter(tmp_path: Path) -> None:
    """Any log in any batches gives the same answers."""
    for seed in range(8):
        rng = random.Random(seed)
        log = Log()
        for _ in range(120):
            happen(log, rng)
        answers = []
        for size in (1, 5, 1000):
            index = indexed(tmp_path / f"{seed}-{size}", log, size)
            queries = (
                "fox",
                "hen",
                "red -fox",
                "has:reaction",
                "is:thread",
                "has:link",
                "from:alice",
                "東京",
            )
            answers.append([found(index, query) for query in queries])
            index.close()
        assert answers[0] == answers[1] == answers[2]


@SIZES
def test_what_has_expired_is_found_no_more(tmp_path: Path, size: int) -> None:
    """From the event on, whoever said it; what is said later and elsewhere stays; its bytes are due to go."""
    log = Log()
    gone = [log.say("tea", "fox of alice"), log.say("tea", "fox of bob", author="bob")]
    log.edit("tea", gone[0], "fox again")
    log.react("tea", gone[1])
    left = log.say("tea", "fox too young")
    other = log.say("go", "fox elsewhere")
    log.expire("tea", left)
    log.edit("tea", gone[1], "fox after all")
    index = indexed(tmp_path, log, size)
    assert found(index, "fox") == [f"go/{other}", f"tea/{left}"]
    assert found(index, "has:reaction") == []
    assert index.is_purge_due == (size < 7)
    later = log.say("tea", "fox, the last")
    log.expire("tea", later + 1, since=left)
    record(index, log)
    assert found(index, "fox") == [f"go/{other}"]
    index.close()
