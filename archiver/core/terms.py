"""What a text is found by: its words, and what people type that is no word. The same for index and query.

Everything that is no letter or digit parts two words, and what is written as one thing is found as its words
in a row: `PLT-3699` is `plt 3699`, so `3699` finds it and `plt-3699` wants the two side by side; so do URLs,
addresses and snake_case. Where a sign makes another word of it (`C++`, `#foo`, `.NET`, `:tada:`),
the whole comes first as a term of its own, its signs moved to the private use area, then its parts.

Chinese, Japanese, Korean, Thai and the like are written without spaces: each run of theirs becomes pairs of
characters and, last, its final character; so any part of it is found, a single character by its pairs.
An emoji is a term, one that is made of several is also found by each of these.

The index splits at everything in ASCII that is no letter or digit, so most ASCII text is put in as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from archiver.core.folding import KEYCAP, PICTOGRAPHS, ZWJ, fold, fold_with_places

RUNS = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ecf\u0edc-\u0edf\u1000-\u103f\u104a-\u109f\u1100-\u11ff\u1780-\u17d3"
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303b\u3041-\u309a\u309d-\u309f\u30a1-\u30fa"
    "\u30fc-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\U0001b000-\U0001b16f\U00020000-\U000323af"
)
"""Thai, Lao, Burmese, Khmer, Han, Kana, Bopomofo, Hangul: the inside of a character class."""

SIGN = 0xE000
"""Where ASCII signs are moved to when they are part of a term: no text holds these when it is folded."""

_TAGS = "\U000e0020-\U000e007f"
_WORD = f"[^\\x00-/:-@\\[-`{{-\\x7f{RUNS}{PICTOGRAPHS}{ZWJ}{KEYCAP}{_TAGS}\\s]"
_SPECIAL = rf"""
    (?<!{_WORD})(?P<after>{_WORD}{{1,40}})(?P<marks>\+\+|\#(?!{_WORD}))
  | (?P<before>@|(?<!{_WORD})(?:\#|\+(?=[0-9])|(?<!\.)\.(?=[A-Za-z])))(?P<named>{_WORD}+)
  | (?<!{_WORD})(?P<version>[vV])(?=[0-9])
  | (?<!{_WORD}):(?P<shortcode>[A-Za-z+_-][A-Za-z0-9+_-]{{0,39}}):
"""
_PICTOGRAPH = f"[{PICTOGRAPHS}]{KEYCAP}?[{_TAGS}]*"
_WIDE = rf"""
    (?P<run>[{RUNS}]+)
  | (?P<emoji>[\U0001f1e6-\U0001f1ff]{{2}}|[0-9\#*]{KEYCAP}|{_PICTOGRAPH}(?:{ZWJ}{_PICTOGRAPH})*)
  | (?P<nothing>[{ZWJ}{KEYCAP}{_TAGS}]+)
"""
_ASCII = re.compile(_SPECIAL, re.VERBOSE | re.ASCII)
_ANY = re.compile(f"{_WIDE}|{_SPECIAL}", re.VERBOSE)
_SHORTCODE = re.compile(r":(?<![0-9A-Za-z]:)[A-Za-z+_-][A-Za-z0-9+_-]*:")
_DOTTED = re.compile(r"\.(?<![0-9A-Za-z.]\.)[A-Za-z]")
_VERSION = re.compile(r"[vV](?<![0-9A-Za-z][vV])[0-9]")

_TERM = re.compile("[0-9A-Za-z\x80-\U0010ffff]+")
_LINK = re.compile(r"(?:https?://|www\.)\w", re.IGNORECASE)
_FILE = re.compile(r"https?://[^\s/]+/[^\s?#]*\.(?!html?\b|php\b|aspx?\b)[a-z][a-z0-9]{1,4}\b", re.IGNORECASE)


class Span(NamedTuple):
    """A term, and from where to where it stands in the text."""

    term: str
    start: int
    end: int


def indexed(text: str) -> str:
    """The text as the index takes it: its terms, separated by ASCII that is no letter or digit."""
    if text.isascii():
        return _ASCII.sub(_replaced, text) if _is_special(text) else text
    return _ANY.sub(_replaced, fold(text))


def terms(text: str) -> list[str]:
    """The terms of a text in their order."""
    form = indexed(text)
    return _TERM.findall(form.lower() if form.isascii() else _lower(form))


def spans(text: str) -> list[Span]:
    """The terms of a text, as `terms` gives them, with their places."""
    folded, places = fold_with_places(text)
    found: list[Span] = []
    at = 0
    for match in _ANY.finditer(folded):
        found += _plain(folded, at, match.start())
        found += _parts(match)
        at = match.end()
    found += _plain(folded, at, len(folded))
    return [Span(_lower(it.term), places[it.start][0], places[it.end - 1][1]) for it in found]


def is_run(term: str) -> bool:
    """Whether a term comes from a script without spaces."""
    return _RUN.fullmatch(term) is not None


def has_link(text: str) -> bool:
    """Whether a text holds a link."""
    return ("://" in text or "www." in text or "WWW." in text) and _LINK.search(text) is not None


def has_file(text: str) -> bool:
    """Whether a text holds a link to a file: its path ends in a name like `report.pdf`."""
    return "://" in text and _FILE.search(text) is not None


_RUN = re.compile(f"[{RUNS}]+")
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def _is_special(text: str) -> bool:
    """Whether ASCII may hold what `_ASCII` looks for: a fifth of what looking for it costs."""
    return (
        "+" in text
        or "#" in text
        or "@" in text
        or (":" in text and _SHORTCODE.search(text) is not None)
        or ("." in text and _DOTTED.search(text) is not None)
        or _VERSION.search(text) is not None
    )


def _lower(text: str) -> str:
    """ASCII only, as the index does it."""
    return text.translate(_LOWER)


def _plain(text: str, start: int, end: int) -> Iterator[Span]:
    return (Span(match[0], match.start(), match.end()) for match in _TERM.finditer(text, start, end))


def _replaced(match: re.Match[str]) -> str:
    return f" {' '.join([it.term for it in _parts(match)])} "


def _parts(match: re.Match[str]) -> list[Span]:
    """The terms that something special becomes."""
    kind, (start, end) = match.lastgroup, match.span()
    match kind:
        case "run":
            return _pairs(match[0], start)
        case "marks":
            return [Span(match["after"] + _signs(match["marks"]), start, end), _group(match, "after")]
        case "named":
            return [Span(_signs(match["before"]) + match["named"], start, end), _group(match, "named")]
        case "version":
            return [Span("v", start, end)]
        case "shortcode":
            inner = [
                Span(it.term, it.start + start + 1, it.end + start + 1) for it in _special(match["shortcode"])
            ]
            return [Span(_signs(match[0]), start, end), *inner]
        case "emoji":
            return _emoji(match[0], start)
    return []


def _special(text: str) -> list[Span]:
    found: list[Span] = []
    at = 0
    for match in _ASCII.finditer(text):
        found += [*_plain(text, at, match.start()), *_parts(match)]
        at = match.end()
    return [*found, *_plain(text, at, len(text))]


def _pairs(run: str, start: int) -> list[Span]:
    pairs = [Span(run[at : at + 2], start + at, start + at + 2) for at in range(len(run) - 1)]
    return [*pairs, Span(run[-1], start + len(run) - 1, start + len(run))]


def _emoji(whole: str, start: int) -> list[Span]:
    found = [Span(_signs(whole), start, start + len(whole))]
    at = start
    if ZWJ in whole:
        for part in whole.split(ZWJ):
            found.append(Span(part, at, at + len(part)))
            at += len(part) + 1
    return found


def _group(match: re.Match[str], name: str) -> Span:
    return Span(match[name], *match.span(name))


def _signs(text: str) -> str:
    """ASCII signs as characters that the index does not split at."""
    return "".join(it if it.isalnum() or not it.isascii() else chr(SIGN + ord(it)) for it in text)
