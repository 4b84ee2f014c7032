"""Which pages may connect: those on the list, or the same origin without one (P4, AT-75)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.origin import allowed

NO_LIST: frozenset[str] = frozenset()
LIST = frozenset({"https://chat.example"})


@pytest.mark.parametrize(
    ("origin", "host", "verdict"),
    [
        ("http://chat.example", "chat.example", True),
        ("https://chat.example", "chat.example", True),
        ("https://chat.example", "chat.example:443", True),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("https://CHAT.example", "chat.example", True),
        ("http://chat.example:8080", "chat.example", False),
        ("https://evil.example", "chat.example", False),
        ("https://chat.example.evil", "chat.example", False),
        ("https://evil.example@chat.example.evil", "chat.example", False),
        ("null", "chat.example", False),
        ("", "chat.example", False),
        ("file://", "chat.example", False),
        ("https://chat.example", None, False),
        ("https://chat.example:99999", "chat.example", False),
        (None, "chat.example", True),
    ],
)
def test_without_a_list_only_the_same_origin(origin: str | None, host: str | None, verdict: bool) -> None:
    """Host and port must be the page's own; programs, which send no Origin, may connect."""
    assert allowed(origin, host, NO_LIST) is verdict


@pytest.mark.parametrize(
    ("origin", "verdict"),
    [("https://chat.example", True), ("https://chat.example/", True), ("http://chat.example", False),
     ("https://other.example", False), ("https://here.example", False), (None, True)],
)  # fmt: skip
def test_with_a_list_only_what_is_on_it(origin: str | None, verdict: bool) -> None:
    """Scheme, host and port count, and the edge's own host is no exception."""
    assert allowed(origin, "here.example", LIST) is verdict


def test_a_star_allows_every_page() -> None:
    """Whoever says so, gets so."""
    assert allowed("https://anywhere.example", "here.example", frozenset({"*"}))


@given(st.text(), st.text())
def test_no_header_makes_it_raise(origin: str, host: str) -> None:
    """Headers are somebody else's: any text has a verdict."""
    assert allowed(origin, host, NO_LIST) in {True, False}
