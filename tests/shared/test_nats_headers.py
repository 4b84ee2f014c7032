"""Headers are read as nats-py reads them, whichever way it takes."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nats.aio.client import Client

from shared.nats_headers import _REPUBLISHED, _headers, read_headers

_names = st.text(st.sampled_from("aZ9-_"), min_size=1, max_size=8)
_values = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), max_size=20)

REPUBLISHED = [
    "Nats-Msg-Id: c/u/1",
    "Nats-Stream: LOG_0",
    "Nats-Subject: channel.0.w.c",
    "Nats-Sequence: 7",
    "Nats-Time-Stamp: 2026-11-27T08:39:53.554227709Z",
    "Nats-Last-Sequence: 6",
]
"""As nats-server 2.15.1 writes them."""


@given(st.dictionaries(_names, _values, max_size=6))
@example({"Nats-Msg-Id": "c/u/1", "Nats-Sequence": "7", "a": "b:c"})
@example({"Nats-Msg-Id": "c/u/1: 2", "Nats-Sequence": "7"})
def test_headers_read_as_nats_py_reads_them(headers: dict[str, str]) -> None:
    """Names and values as they were sent."""
    raw = "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    assert read_headers(b"NATS/1.0\r\n" + raw.encode()) == headers
    assert Client()._parse_header_lines(raw.encode()) == headers


def test_republished_headers_need_one_look() -> None:
    """Those of the server, in its order, are found at once."""
    raw = "\r\n".join(["NATS/1.0", *REPUBLISHED, "\r\n"])
    assert _REPUBLISHED.fullmatch(raw)
    assert read_headers(raw.encode()) == dict(line.split(": ") for line in REPUBLISHED) == _headers(raw)


_odd = st.text(st.sampled_from("a: \r\n\t\ufffd\u2028é"), max_size=5)


@given(
    st.lists(st.tuples(st.sampled_from(REPUBLISHED), _odd) | _odd.map(lambda text: (text, "")), max_size=3),
    st.integers(0, 6),
    st.sampled_from(["NATS/1.0", "NATS/1.0 ", "NATS/1.0 503", "NATS/1.1", ""]),
    st.sampled_from(["\r\n\r\n", "\r\n", "\n\n", ""]),
    st.lists(_odd, min_size=6, max_size=6),
)
@example([], 6, "NATS/1.0", "\r\n\r\n", ["", ": \r", "\r", "\u2028", "\t ", ""])
def test_headers_read_at_once_or_line_by_line(
    others: list[tuple[str, str]], at: int, first: str, end: str, added: list[str]
) -> None:
    """Both ways find the same, whatever stands in the values, between the lines and behind them."""
    lines = [line + more for line, more in zip(REPUBLISHED, added, strict=True)]
    lines[at:at] = [line + more for line, more in others]
    text = "\r\n".join([first, *lines]) + end
    assert read_headers(text.encode()) == _headers(text)


@given(st.binary(max_size=80))
def test_any_bytes_read_as_headers(raw: bytes) -> None:
    """What is no header is skipped; bytes that are no UTF-8 become U+FFFD; nothing stops a reader."""
    assert all(name.isascii() and " " not in name for name in read_headers(b"NATS/1.0\r\n" + raw))


@pytest.mark.parametrize(
    ("raw", "headers"),
    [
        (b"NATS/1.0 503\r\n\r\n", {"Status": "503"}),
        (b"NATS/1.0 404 No Messages\r\n\r\n", {"Status": "404", "Description": "No Messages"}),
        (
            b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1016\r\n\r\n",
            {"Status": "100", "Description": "Idle Heartbeat", "Nats-Last-Consumer": "1016"},
        ),
        (b"NATS/1.0\r\nNats-Sequence: 7\r\nno colon\r\n\r\n", {"Nats-Sequence": "7"}),
        (b"NATS/1.0\r\nNats-Sequence: 7\r\n: \r\n\r\n", {"Nats-Sequence": "7"}),
        (b"NATS/1.0\r\na: \xff!\r\nno colon\r\ntwo words: x\r\nb:  y \r\n\r\n", {"a": "\ufffd!", "b": "y"}),
    ],
)
def test_status_lines(raw: bytes, headers: dict[str, str]) -> None:
    """The server's own answers: a number, its words, and headers behind them."""
    assert read_headers(raw) == headers
