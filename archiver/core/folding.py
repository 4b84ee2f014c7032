"""One spelling for what people see as the same: width, case, accents, invisible characters.

NFKC, then each character by itself: case folded, accents off (é = e, ß = ss, İ = i, ё = е), skin tones and
variation selectors gone, what separates words a space. Marks that are part of a letter stay (が is not か,
Devanagari keeps its vowels). ASCII is not touched: the index folds its case by itself.
"""

from __future__ import annotations

import functools
import unicodedata

CHARACTERS_KEPT = 20_000
"""Characters whose folded form is remembered; beyond them it is computed each time."""

ZWJ = "\u200d"
KEYCAP = "\u20e3"
PICTOGRAPHS = "\u2190-\u21ff\u2300-\u23ff\u2500-\u27bf\u2900-\u297f\u2b00-\u2bff\U0001f000-\U0001faff"
"""Emoji and what looks like them, as the inside of a character class; also those that are yet to come."""

_DROPPED_MARKS = (
    (0x0300, 0x036F),  # Latin, Greek, Cyrillic
    (0x0591, 0x05C7),  # Hebrew points
    (0x0610, 0x061A),
    (0x0640, 0x0640),  # Arabic tatweel
    (0x064B, 0x065F),  # Arabic vowels
    (0x0670, 0x0670),
    (0xFE00, 0xFE0F),  # variation selectors
    (0xE0100, 0xE01EF),
    (0x1F3FB, 0x1F3FF),  # skin tones
)
_LETTERS = {"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th"}
_KEPT = {ZWJ, KEYCAP}
_SPACE = "\u200b"


def fold(text: str) -> str:
    """The text in its one spelling; what is no letter, digit, mark, symbol or ASCII is a space."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text).translate(_FOLDED)


def fold_with_places(text: str) -> tuple[str, list[tuple[int, int]]]:
    """As `fold`, and for every character of the result from where to where in `text` it comes."""
    if text.isascii():
        return text, [(at, at + 1) for at in range(len(text))]
    parts: list[str] = []
    places: list[tuple[int, int]] = []
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or _begins(text[end]):
            part = unicodedata.normalize("NFKC", text[start:end]).translate(_FOLDED)
            parts.append(part)
            if part:
                places += [(start, end)] * len(part)
            elif places:  # a skin tone, a variation selector: part of what it follows
                _lengthen(places, end)
            start = end
    return "".join(parts), places


def _lengthen(places: list[tuple[int, int]], end: int) -> None:
    last = places[-1]
    for at in range(len(places) - 1, -1, -1):
        if places[at] != last:
            return
        places[at] = last[0], end


class _Folded(dict[int, str]):
    """For `str.translate`: made when a character is met, and kept as long as there is room."""

    def __missing__(self, code: int) -> str:
        folded = _fold(chr(code))
        if len(self) < CHARACTERS_KEPT:
            self[code] = folded
        return folded


_FOLDED = _Folded()


def _fold(character: str) -> str:
    if character in _KEPT or 0xE0020 <= ord(character) <= 0xE007F:  # emoji are made with these
        return character
    if character == _SPACE:
        return " "
    category = unicodedata.category(character)
    if category == "Cf" or _dropped(character):
        return ""
    if character.isascii():
        return character.lower()
    if category[0] in "LNM":
        plain = unicodedata.normalize("NFD", character.casefold())
        kept = "".join(_LETTERS.get(part, part) for part in plain if not _dropped(part))
        return unicodedata.normalize("NFC", kept)
    if 0x1F000 <= ord(character) <= 0x1FAFF:
        return character
    if category[0] == "S":
        return character if category == "So" else f" {character} "
    return " "


def _dropped(character: str) -> bool:
    code = ord(character)
    return any(first <= code <= last for first, last in _DROPPED_MARKS)


@functools.lru_cache(CHARACTERS_KEPT)
def _begins(character: str) -> bool:
    """Whether normalisation never joins this character to the one before it."""
    first = unicodedata.normalize("NFKD", character)[0]
    return unicodedata.combining(first) == 0 and first not in _joining()


@functools.cache
def _joining() -> frozenset[str]:
    """What is no combining mark and still becomes one with the character before it: Hangul, some vowels."""
    vowels_and_finals = {chr(code) for code in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    pairs = (unicodedata.decomposition(chr(code)).split() for code in range(0x900, 0x12000))
    seconds = {chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2 and not pair[0].startswith("<")}
    return frozenset(vowels_and_finals | {it for it in seconds if not unicodedata.combining(it)})
