"""What a text is found by, the same for index and query."""

from __future__ import annotations

import unicodedata

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.terms import SIGN, has_file, has_link, indexed, spans, terms

TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from("aAvV129+#@.:_-\n \0\u200d\u20e3👩🏽💻東京がガ\u3099한글\u1161\u11a8éßİ"),
        st.characters(min_codepoint=0x900, max_codepoint=0x1200),
        st.characters(min_codepoint=0x1F000, max_codepoint=0x1FAFF),
    ),
    max_size=25,
)


def plain(text: str) -> list[str]:
    """The terms, with the signs in them as they are typed."""
    return ["".join(chr(ord(c) - SIGN) if SIGN <= ord(c) < SIGN + 128 else c for c in t) for t in terms(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, world!", "hello world"),
        ("PLT-3699", "plt 3699"),
        ("#foo-123", "#foo foo 123"),
        ("C++, C# and C++17", "c++ c c# c and c++ c 17"),
        (".NET or ASP.NET", ".net net or asp net"),
        ("v1.2.3 1.2", "v 1 2 3 1 2"),
        ("ada.b@example.com", "ada b @example example com"),
        ("https://x.org/a_b?q=1", "https x org a b q 1"),
        ("snake_case don't", "snake case don t"),
        ("@ada +1 :+1: :tada:", "@ada ada +1 1 :+1: +1 1 :tada: tada"),
        ("std::vector 10:30", "std vector 10 30"),
        ("東京都に a", "東京 京都 都に に a"),
        ("안녕하세요", "안녕 녕하 하세 세요 요"),
        ("日本C++", "日本 本 c++ c"),
        ("Größe", "grosse"),
        ("👍🏽👍", "👍 👍"),
        ("👩🏽\u200d💻", "👩\u200d💻 👩 💻"),
        ("🇩🇪🇫🇷 1️⃣", "🇩🇪 🇫🇷 1\u20e3"),
        ("100€", "100 €"),
        ("ไทย", "ไท ทย ย"),
        ("!? …", ""),
    ],
)  # fmt: skip
def test_terms(text: str, expected: str) -> None:
    """Words, identifiers, scripts without spaces, emoji."""
    assert plain(text) == expected.split(" ") if expected else plain(text) == []


@given(TEXTS)
def test_the_index_sees_the_same_terms(text: str) -> None:
    """FTS5 splits what it is given into exactly these terms: else what is indexed could not be found."""
    db = apsw.Connection(":memory:")
    db.execute("CREATE VIRTUAL TABLE words USING fts5(text, tokenize='ascii')")
    db.execute("CREATE VIRTUAL TABLE terms USING fts5vocab(words, instance)")
    db.execute("INSERT INTO words VALUES (?)", (indexed(text),))
    assert [term for (term,) in db.execute("SELECT term FROM terms ORDER BY offset")] == terms(text)


@given(TEXTS)
def test_places_of_terms(text: str) -> None:
    """The same terms with their places, which lie in the text."""
    found = spans(text)
    assert [it.term for it in found] == terms(text)
    assert all(0 <= it.start < it.end <= len(text) for it in found)


@given(TEXTS)
def test_composition_does_not_matter(text: str) -> None:
    """However a text is composed, its terms are the same."""
    assert terms(unicodedata.normalize("NFD", text)) == terms(unicodedata.normalize("NFC", text))


def test_hostile_texts_take_linear_time() -> None:
    """Sixteen kilobytes of anything are few steps: no pattern backtracks."""
    for unit in ("a", "#", "+", "a+", ":a", "v", ".", "東", "👩\u200d", "\u0301", "é:"):
        text = unit * (16_384 // len(unit))
        assert len(spans(text)) <= 3 * len(text) + 3


@pytest.mark.parametrize(
    ("text", "link", "file"),
    [
        ("see https://x.org/a", True, False),
        ("WWW.X.ORG", True, False),
        ("http://x.org/r/report.pdf?x=1", True, True),
        ("https://x.org", True, False),
        ("https://x.org/index.html", True, False),
        ("x.org/report.pdf", False, False),
        ("no link: http", False, False),
    ],
)
def test_links_and_files(text: str, link: bool, file: bool) -> None:
    """A link names a scheme or www; a file is a link whose path ends in a file's name."""
    assert (has_link(text), has_file(text)) == (link, file)
