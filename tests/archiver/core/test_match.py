"""Expressions for FTS5: whatever people type, they are valid and mean what was meant."""

from __future__ import annotations

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.match import excluded, expression
from archiver.core.query import parse
from archiver.core.terms import indexed
from shared.errors import BadQuery

DB = apsw.Connection(":memory:")
DB.execute("CREATE VIRTUAL TABLE words USING fts5(text, meta, content='', tokenize='ascii')")
TEXTS = ["iced tea with milk", "tea, iced", "coffee", "PLT 12 and 3699", "see PLT-3699!", "c1 u2 or not"]
for number, said in enumerate(TEXTS):
    DB.execute(
        "INSERT INTO words (rowid, text, meta) VALUES (?, ?, ?)", (number, indexed(said), f"c{number % 2} u1")
    )


def found(match: str) -> list[int]:
    """The texts that an expression finds."""
    return [
        row for (row,) in DB.execute("SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid", (match,))
    ]


@pytest.mark.parametrize(
    ("text", "groups", "barred", "expected"),
    [
        ("tea", [], [], [0, 1]),
        ("tea iced", [["c0"]], [], [0]),
        ('"iced tea"', [], [], [0]),
        ("plt-3699", [], [], [4]),
        ("3699", [], [], [3, 4]),
        ("tea -milk", [], [], [1]),
        ("tea", [], ["c0"], [1]),
        ("in:x -tea", [["c0", "c1"]], [], [2, 3, 4, 5]),
        ("co*", [], [], [2]),
        ("or not", [], [], [5]),
        ("c1", [], [], [5]),
        ("NEAR AND", [], [], []),
    ],
)
def test_expressions(text: str, groups: list[list[str]], barred: list[str], expected: list[int]) -> None:
    """Words in the text only, terms of places and people in their own column only."""
    query = parse(text)
    assert found(expression(query.wanted, groups, query.unwanted, barred)) == expected


def test_nothing_wanted_is_no_expression() -> None:
    """FTS5 cannot look for what is not there; the exclusion stands alone."""
    assert expression([], [], parse("in:x -tea").unwanted) == ""
    assert found(excluded(parse("in:x -tea").unwanted, [])) == [0, 1]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_no_text_is_interpreted(text: str) -> None:
    """FTS5 accepts whatever comes of a query."""
    try:
        query = parse(text)
    except BadQuery:
        return
    if match := expression(query.wanted, [], query.unwanted):
        found(match)
