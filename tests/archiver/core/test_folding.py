"""One spelling for what people see as the same, and no two for what they tell apart."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.folding import fold, fold_with_places

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("é", "e\u0301"),
        ("É", "e"),
        ("STRASSE é", "straße é"),
        ("ẞ", "ss"),
        ("İ", "i\u0307"),
        ("ıé", "ié"),
        ("Ångström", "angström"),
        ("ΣΑΣ", "σας"),
        ("Ёлка", "елка"),
        ("Ｆｕｌｌ", "full\u00ad"),
        ("ﬁn", "ﬁn".replace("ﬁ", "fi") + "\ufe0f"),
        ("ﾊﾝｶﾞｸ", "ハンガク"),
        ("한글", unicodedata.normalize("NFD", "한글")),
        ("كِتَاب", "كتاب"),
        ("👍🏽", "👍"),
        ("☕️", "☕"),
        ("a\u00a0b", "a b\u200d".replace("\u200d", "")),
    ],
)
def test_the_same_for_people(one: str, other: str) -> None:
    """Width, case, accents, composition, invisible characters."""
    assert fold(one) == (fold(other).lower() if other.isascii() else fold(other))


@pytest.mark.parametrize(
    ("one", "other"), [("が", "か"), ("ば", "ぱ"), ("हिन्दी", "हन्द"), ("ไทย", "ไท"), ("α", "a")]
)
def test_what_differs_for_people(one: str, other: str) -> None:
    """A mark that is part of a letter stays."""
    assert fold(one) != fold(other)


@given(TEXTS)
def test_places_belong_to_the_folded_text(text: str) -> None:
    """Cluster by cluster the result is the same, and every character of it has a place in the text."""
    folded, places = fold_with_places(text)
    assert folded == fold(text)
    assert len(places) == len(folded)
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert places == sorted(places)


@given(TEXTS)
def test_composition_does_not_matter(text: str) -> None:
    """NFC, NFD and their compatible forms are one."""
    if not text.isascii():
        forms = {fold(unicodedata.normalize(form, text) + "é") for form in ("NFC", "NFD", "NFKC", "NFKD")}
        assert len(forms) == 1
