"""The README's ten questions: each gives the right answer on a small history, to operators and users."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.sandbox_query import run
from shared import events as e
from shared.archive_files import open_archive, pin
from shared.events import KnownEvent
from shared.ids import ChannelId, ChannelKey, Seq, UserId, WorkspaceId
from shared.sql_results import stream
from tests.support.events import example
from tests.support.sql_rows import write_archive

README = Path(__file__).parents[2] / "README.md"
SECTION = README.read_text().partition("### Ten questions")[2].partition("\n## ")[0]
QUESTIONS = re.findall(r"^(\w[^\n]*)\n\n```sql\n(.*?)```", SECTION, re.DOTALL | re.MULTILINE)
TEA, GO = (ChannelKey(WorkspaceId("acme"), ChannelId(name)) for name in ("tea", "go"))
JANUARY_US = 1_767_258_000_000_000
"""2026-01-01 09:00 UTC."""

HOUR_US = 3_600_000_000
LONG_AGO = e.Imported(by=UserId("tool"), at="2025-12-24T18:00:00Z")


def history() -> Iterator[tuple[ChannelKey, KnownEvent, int]]:
    """Two channels: (hours since the first of January, 9 o'clock) and what happened then."""
    for key, hours, event in (
        (TEA, 0, example(e.ChannelCreated, name="tea")),
        (TEA, 0, example(e.MemberJoined, author="bob")),
        (TEA, 0, example(e.MemberJoined, author="cleo")),
        (TEA, 1, example(e.MessagePosted, author="alice", text="Is there milk?")),  # 4
        (TEA, 2, example(e.MessagePosted, author="alice", text="I look myself", thread=Seq(4))),
        (TEA, 3, example(e.MessagePosted, author="bob", text="yes", thread=Seq(4))),
        (TEA, 5, example(e.MessagePosted, author="cleo", text="no", thread=Seq(4))),
        (TEA, 5, example(e.MessageEdited, author="bob", ref=Seq(6), ref_author="bob", text="yes, oat milk")),
        (TEA, 25, example(e.MessagePosted, author="bob", text="And sugar?")),  # 9
        (TEA, 25, example(e.MessagePosted, author="cleo", text="gone", thread=Seq(9))),  # 10
        (TEA, 25, example(e.MessageDeleted, author="cleo", ref=Seq(10), ref_author="cleo")),
        (TEA, 25, example(e.ReactionAdded, author="alice", ref=Seq(4), emoji="🥛")),
        (TEA, 25, example(e.ReactionAdded, author="bob", ref=Seq(4), emoji="🥛")),
        (TEA, 25, example(e.ReactionAdded, author="bob", ref=Seq(6), emoji="🎉")),
        (TEA, 25, example(e.ReactionRemoved, author="bob", ref=Seq(6), emoji="🎉")),
        (TEA, 25, example(e.ReactionAdded, author="bob", ref=Seq(10), emoji="🎉")),
        (TEA, 31 * 24, example(e.MemberLeft, author="cleo")),
        (TEA, 31 * 24, example(e.MessagePosted, author="mallory", text="void?")),
        (GO, 26, example(e.ChannelCreated, author="bob", name="go")),
        (GO, 26, example(e.MessagePosted, author="bob", text="once", imported=LONG_AGO)),
    ):
        yield key, event, JANUARY_US + hours * HOUR_US


ANSWERS: dict[str, list[tuple[object, ...]]] = {
    "How many messages a day?": [("2025-12-24", 1), ("2026-01-01", 4), ("2026-01-02", 1)],
    "When is it busy? Hours are UTC.": [(10, 2), (11, 1), (12, 1), (14, 1), (18, 1)],
    "Who says most, and in how many channels?": [
        ("bob", 3, 2, "2026-01-02 10:00:00"),
        ("alice", 2, 1, "2026-01-01 11:00:00"),
        ("cleo", 1, 1, "2026-01-01 14:00:00"),
    ],
    "Which reactions are given most, and by how many people?": [("🥛", 2, 2)],
    "How long until somebody else answers in a thread?": [("tea", 1, 7200.0, 7200.0)],
    "Which questions has nobody answered?": [("tea", 9, "bob", "And sugar?")],
    "Which threads are the longest?": [("tea", 4, "Is there milk?", 3, 3)],
    "Who changes what they have said? In percent.": [
        ("bob", 3, 1, 33.3),
        ("alice", 2, 0, 0.0),
        ("cleo", 1, 0, 0.0),
    ],
    "How do channels grow? Who came, who left, and the sum since it was made.": [
        ("tea", "2026-01-01", 2, 0, 2),
        ("tea", "2026-02-01", 0, 1, 1),
    ],
    "Who talks to whom? Replies in threads.": [("bob", "alice", 1), ("cleo", "alice", 1)],
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That history."""
    directory = tmp_path_factory.mktemp("readme") / "archive"
    write_archive(directory, history())
    return directory


def test_there_are_ten() -> None:
    """Each with its answer here."""
    assert [question for question, _ in QUESTIONS] == list(ANSWERS)
    assert len(ANSWERS) == 10


@pytest.mark.parametrize(("question", "query"), QUESTIONS)
def test_a_question_is_answered(archive: Path, question: str, query: str) -> None:
    """The same for an operator and for a user who may read everything, and right."""
    pieces: list[bytes] = []
    with open_archive(archive) as db:
        stream(db, query, "json", pieces.append)
    operators = _rows(pieces)
    assert operators == ANSWERS[question]
    pieces.clear()
    run(
        {
            "query": query,
            "format": "json",
            "workspace": "acme",
            "channels": ["go", "tea"],
            "files": pin(archive).files,
            "output_bytes": 10**6,
        },
        pieces.append,
        memory_bytes=2 * 1024**3,
        threads=2,
    )
    assert _rows(pieces) == operators


def _rows(pieces: list[bytes]) -> list[tuple[object, ...]]:
    return [tuple(json.loads(line).values()) for line in b"".join(pieces).splitlines()]
