"""Snippets: the right part of a text, and ranges that are true."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.query import parse
from archiver.core.snippet import CHARACTERS_MAX, snippet
from shared.search import Snippet


def marked(found: Snippet) -> list[str]:
    """What is highlighted."""
    return [found.text[start:end] for start, end in found.ranges]


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("Tea, and more tea.", "tea", ["Tea", "tea"]),
        ("see PLT-3699 now", "plt-3699", ["PLT-3699"]),
        ("see PLT-3699 now", "3699", ["3699"]),
        ("I like C++17 a lot", "c++", ["C++"]),
        ("我住在東京都", "東京", ["東京"]),
        ("我住在東京都", "東京都", ["東京都"]),
        ("我住在東京都", "京", ["京"]),
        ("我住在東京都", "都", ["都"]),
        ("die Größe der Straße", "GROSSE strasse", ["Größe", "Straße"]),
        ("cafe\u0301 au lait", "café", ["cafe\u0301"]),
        ("ok 👍🏽!", "👍", ["👍🏽"]),
        ("brewing", "brew*", ["brewing"]),
        ("iced tea", '"iced tea"', ["iced tea"]),
        ("tea -coffee", "tea -milk", ["tea"]),
        ("nothing", "from:ada", []),
    ],
)
def test_ranges(text: str, query: str, expected: list[str]) -> None:
    """What made the message a hit, as it is spelled there."""
    assert marked(snippet(text, parse(query).wanted)) == expected


def test_long_texts_are_cut_around_the_match() -> None:
    """Between words, with a word about what is missing."""
    text = "lorem ipsum " * 100 + "the needle here " + "dolor sit " * 100
    found = snippet(text, parse("needle").wanted)
    assert marked(found) == ["needle"]
    assert (found.cut_before, found.cut_after) == (True, True)
    assert len(found.text) <= CHARACTERS_MAX + 20
    assert set(found.text.split()) <= set(text.split())


@given(
    st.text(st.sampled_from("ab東 é\n👍👩\u200d"), max_size=700),
    st.sampled_from(["a", "ab", "東", "é", "👍"]),
)
def test_a_snippet_is_a_part_of_its_text(text: str, word: str) -> None:
    """Its ranges lie within it, in order, apart; and a text with a match shows one."""
    found = snippet(text, parse(word).wanted)
    assert found.text in text
    flat = [at for both in found.ranges for at in both]
    assert flat == sorted(flat)
    assert all(0 <= start < end <= len(found.text) for start, end in found.ranges)
