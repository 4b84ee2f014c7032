"""A query as an expression of SQLite's FTS5. No text of a user is ever interpreted.

Terms hold letters, digits and characters beyond ASCII only, so that between quotation marks they are
themselves. Who wrote a message, where, and what it holds are terms, too, in a column of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from archiver.core.query import Phrase

THREAD = "t"
HOLDS = {"link": "l", "file": "f"}


def channel_term(number: int) -> str:
    """The term of a channel."""
    return f"c{number}"


def author_term(number: int) -> str:
    """The term of an author."""
    return f"u{number}"


def expression(
    wanted: Iterable[Phrase],
    groups: Iterable[Sequence[str]],
    unwanted: Iterable[Phrase] = (),
    barred: Sequence[str] = (),
) -> str:
    """All of `wanted`, of each of `groups` one term, and nothing of `unwanted` and `barred`.

    Empty if nothing is wanted: FTS5 cannot look for what is not there.
    """
    parts = [_phrase(it) for it in wanted]
    parts += [_any(group) for group in groups]
    if not parts:
        return ""
    without = excluded(unwanted, barred)
    return f"({' AND '.join(parts)}) NOT ({without})" if without else " AND ".join(parts)


def excluded(unwanted: Iterable[Phrase], barred: Sequence[str]) -> str:
    """Any of these; empty if there are none."""
    parts = [_phrase(it) for it in unwanted]
    if barred:
        parts.append(_any(barred))
    return " OR ".join(parts)


def _phrase(phrase: Phrase) -> str:
    return f'text : "{" ".join(phrase.terms)}"' + (" *" if phrase.prefix else "")


def _any(terms: Sequence[str]) -> str:
    return f"meta : ({' OR '.join(terms)})"
