"""The query language: what it reads, and where it says that something is wrong."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.period import period
from archiver.core.query import OPERATORS, Phrase, Query, parse
from archiver.core.terms import SIGN
from shared.errors import BadQuery


def phrase(text: str, *, prefix: bool = False, negative: bool = False) -> Phrase:
    """Terms separated by spaces."""
    return Phrase(tuple(text.split(" ")), prefix=prefix, negative=negative)


def sign(text: str) -> str:
    """A term with signs as the index has it."""
    return "".join(c if c.isalnum() else chr(SIGN + ord(c)) for c in text)


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("tea time", [phrase("tea"), phrase("time")]),
        ('"Iced Tea"', [phrase("iced tea")]),
        ("“iced tea”", [phrase("iced tea")]),
        ("brew*", [phrase("brew", prefix=True)]),
        ("tea -coffee", [phrase("tea"), phrase("coffee", negative=True)]),
        ('tea -"iced tea"', [phrase("tea"), phrase("iced tea", negative=True)]),
        ("PLT-3699", [phrase("plt 3699")]),
        ("plt-36*", [phrase("plt 36", prefix=True)]),
        ("C++", [Phrase((sign("c++"), "c"))]),
        ("https://x.org:80/a", [phrase("https x org 80 a")]),
        ("localhost:8080 note:", [phrase("localhost 8080"), phrase("note")]),
        ("std::vector", [phrase("std vector")]),
        ("mailto:ada@x.org", [Phrase(("mailto", "ada", sign("@x"), "x", "org"))]),
        ("東京", [phrase("東京")]),
        ("東京都", [phrase("東京 京都")]),
        ("東", [phrase("東", prefix=True)]),
        ("東京*", [phrase("東京")]),
        ('"東京 tea"', [phrase("東京 京 tea")]),
        ("tea !!! -", [phrase("tea")]),
        ("--verbose", [phrase("verbose")]),
        ("O'Brien's", [phrase("o brien s")]),
        ('tea"time"', [phrase("tea"), phrase("time")]),
    ],
)  # fmt: skip
def test_words(text: str, phrases: list[Phrase]) -> None:
    """Words, phrases, beginnings, what must not be there; what is written as one thing stays together."""
    assert list(parse(text).phrases) == phrases


def test_operators() -> None:
    """Each of them, any case, with quotes and the signs that people put in front of names."""
    query = parse(
        'From:@ada -from:bob in:#general IN:"tea room" has:link -has:FILE is:thread'
        " after:2026-01 before:2026-11-25",
        "Europe/Berlin",
    )
    assert [(it.value, it.negative) for it in query.authors] == [("ada", False), ("bob", True)]
    assert [it.value for it in query.channels] == ["general", "tea room"]
    assert query.has == (("link", False), ("file", True))
    assert query.thread is True
    assert query.since_us == period("2026-01", "Europe/Berlin")[1]
    assert query.until_us == period("2026-11-25", "Europe/Berlin")[0]
    assert query.phrases == ()


def test_times_narrow_each_other() -> None:
    """All of them have to hold."""
    query = parse("during:2026 after:2026-03 before:2026-06 on:2026-04-05")
    assert (query.since_us, query.until_us) == period("2026-04-05", "UTC")


@pytest.mark.parametrize(
    ("text", "offset", "length", "says"),
    [
        ("", 0, 0, "nothing"),
        ("   ", 0, 3, "nothing"),
        ("!!!", 0, 3, "nothing"),
        ("-tea", 0, 4, "not only what not"),
        ("tea form:ada", 4, 8, "no operator form:"),
        ("tea from:", 4, 5, "needs a value"),
        ('tea in:""', 4, 5, "needs a value"),
        ("has:cheese", 0, 10, "link, file, reaction"),
        ("is:late x", 0, 7, "thread"),
        ("x before:soon", 2, 11, "2026-11-25"),
        ("x on:2026-02-30", 2, 13, "no day"),
        ("x -after:2026", 2, 11, "cannot be taken out"),
        ('x "tea', 2, 4, "not closed"),
        ('x from:"ada', 2, 9, "not closed"),
        ("a* tea", 0, 2, "at least 2"),
        ("is:thread -is:thread", 10, 10, "cannot"),
        ("x" * 501, 500, 1, "at most 500"),
        ("x " * 33, 64, 1, "at most 32"),
    ],
)
def test_errors_have_places(text: str, offset: int, length: int, says: str) -> None:
    """What is wrong, where, and what would be right."""
    with pytest.raises(BadQuery, match=says) as caught:
        parse(text)
    assert (caught.value.offset, caught.value.length) == (offset, length)


def test_only_operators_are_enough() -> None:
    """Where they say what to look for."""
    for text in ("from:ada", "in:tea -coffee", "has:reaction", "is:thread", "on:2026-11-25"):
        assert isinstance(parse(text), Query)
    with pytest.raises(BadQuery):
        parse("-from:ada -tea")


PARTS = st.sampled_from(
    [*(f"{name}:" for name in OPERATORS), '"', "-", "*", " ", "tea", "2026", "東京", "://", "x"]
)


@given(st.one_of(st.text(max_size=60), st.lists(PARTS, max_size=20).map("".join)))
def test_anything_is_read_or_refused_with_a_place(text: str) -> None:
    """No input breaks the parser; what a refusal names lies in the query."""
    with contextlib.suppress(BadQuery):
        try:
            query = parse(text)
            assert all(it.terms and all(it.terms) for it in query.phrases)
        except BadQuery as error:
            assert 0 <= error.offset <= error.offset + error.length <= max(len(text), 0)
            raise
