"""The text of a Slack record, whatever it is made of, within the server's limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.slack.tally import Tally
from infra.slack.text import TEXT_BYTES_MAX, clean, files_of, text_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
BLOCKS: list[dict[str, object]] = [
    {"type": "header", "text": {"type": "plain_text", "text": "Deploy"}},
    {
        "type": "rich_text",
        "elements": [
            {"type": "text", "text": "@ 5 "},
            {"type": "emoji", "name": "tada"},
            {"type": "text", "text": " "},
            {"type": "user", "user_id": "U1"},
            {"type": "text", "text": " "},
            {"type": "link", "url": "https://x.org"},
        ],
    },
]
NAMES = ("text", "attachments", "comment", "files", "file", "blocks")


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"text": "hi"}, "hi"),
        ({}, ""),
        ({"text": None}, ""),
        ({"text": "  \n"}, "  \n"),
        ({"text": "  \n", "files": [{"name": "b.txt"}]}, "b.txt"),
        ({"text": "own", "attachments": [{"text": "theirs"}]}, "own"),
        ({"attachments": [{"text": "a"}, {"fallback": "b"}, {"pretext": "c"}, {"title": "d"}]}, "a\nb\nc\nd"),
        ({"attachments": [{"text": "same"}, {"text": "same"}]}, "same"),
        ({"attachments": [{"text": "", "fallback": "second"}]}, "second"),
        ({"attachments": "none", "files": 7}, ""),
        ({"comment": {"comment": "nice"}}, "nice"),
        (
            {"files": [{"title": "plan"}, {"name": "b.txt"}, {"mode": "tombstone"}]},
            "plan\nb.txt\n[deleted file]",
        ),
        ({"file": {"title": "old form"}}, "old form"),
        ({"files": [{"mode": "hidden_by_limit"}]}, "[file hidden by the limit of Slack's plan]"),
        ({"blocks": BLOCKS}, "Deploy\n@ 5 :tada: <@U1> https://x.org"),
        ({"attachments": [{"blocks": BLOCKS[:1]}]}, "Deploy"),
    ],
)
def test_what_is_said_in_place_of_a_text(record: dict[str, object], text: str) -> None:
    """A record's own text, else attachments, comments and files, each once."""
    assert text_of(record, Tally()) == text


def test_files_are_counted() -> None:
    """Those of today's records and of old ones; their contents are not imported."""
    assert files_of({"text": "look", "files": [{"title": "a"}, {"title": "b"}]}) == 2
    assert files_of({"file": {"title": "c"}}) == 1


@pytest.mark.parametrize("letter", ["x", "é", "☕", "𝕏"])
def test_a_long_text_is_cut_and_counted(letter: str) -> None:
    """At the limit in bytes, never in the middle of a character; what just fits is left alone."""
    fits = letter * (TEXT_BYTES_MAX // len(letter.encode()))
    tally = Tally()
    assert text_of({"text": fits}, tally) == fits
    assert not tally.altered
    cut = text_of({"text": fits + "more"}, tally)
    assert TEXT_BYTES_MAX - 8 < len(cut.encode()) <= TEXT_BYTES_MAX
    assert cut.startswith(letter * 100)
    assert cut.endswith("[…]")
    assert sum(tally.altered.values()) == 1


@given(st.text(st.characters(), max_size=30))
def test_clean_text_can_be_stored(text: str) -> None:
    """No NUL, no lone surrogate (AT-80); what was clean stays as it is, what was not is counted."""
    tally = Tally()
    cleaned = clean(text, tally)
    assert "\x00" not in cleaned
    assert cleaned.encode().decode() == cleaned
    assert (cleaned == text) == (not tally.altered)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, JSON)))
def test_no_record_is_too_strange(record: dict[str, object]) -> None:
    """Fields of any shape give a text that the server takes (AT-55)."""
    text = text_of(record, Tally())
    assert len(text.encode()) <= TEXT_BYTES_MAX
    assert "\x00" not in text


def test_blocks_may_nest_as_deep_as_they_please() -> None:
    """Neither depth nor number ends the conversion."""
    nested: object = {"type": "text", "text": "deep"}
    for _ in range(4_000):
        nested = {"elements": [nested]}
    assert text_of({"blocks": nested}, Tally()) == "deep"
    assert text_of({"blocks": [{"type": nested, "text": "flat"}]}, Tally()) == "flat"
    assert text_of({"files": [{"mode": nested}], "text": nested}, Tally()) == "[file]"
    many = [{"type": "text", "text": "x"}] * 50_000
    assert set(text_of({"blocks": many}, Tally())) == {"x"}
