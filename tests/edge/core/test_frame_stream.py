"""The client's bytes become texts, or the connection ends with the code of RFC 6455; nothing raises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from edge.core.frame_stream import FrameStream

BYTES_MAX = 1000


def masked(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


def test_fragments_become_one_text() -> None:
    """A message in pieces, with a ping between them, which is answered."""
    stream = FrameStream(BYTES_MAX)
    parts = masked(Opcode.TEXT, b"on", fin=False) + masked(Opcode.PING, b"p") + masked(Opcode.CONT, b"e")
    assert stream.feed(parts + masked(Opcode.BINARY, b"t\xffo")) == ["one", "t�o"]
    assert stream.to_send() == Frame(Opcode.PONG, b"p").serialize(mask=False)


@given(st.lists(st.text(max_size=20), max_size=8), st.integers(1, 30))
def test_pieces_do_not_matter(texts: list[str], size: int) -> None:
    """However the bytes are cut, the texts are the same."""
    data = b"".join(masked(Opcode.TEXT, text.encode()) for text in texts)
    stream = FrameStream(BYTES_MAX)
    found = [text for at in range(0, len(data), size) for text in stream.feed(data[at : at + size])]
    assert found == texts


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (masked(Opcode.TEXT, b"\xff"), 1007),
        (masked(Opcode.TEXT, b"x" * (BYTES_MAX + 1)), 1009),
        (masked(Opcode.TEXT, b"x" * 600, fin=False) + masked(Opcode.CONT, b"x" * 600), 1009),
        (masked(Opcode.CONT, b"x"), 1002),
        (b"\x81\x01x", 1002),
        (b"\xf1\x80\x00\x00\x00\x00", 1002),
    ],
    ids=["no utf-8", "too large", "too large in pieces", "no beginning", "not masked", "reserved bits"],
)
def test_what_breaks_the_rules(data: bytes, code: int) -> None:
    """What came before counts; then the connection has failed with the code that says why."""
    stream = FrameStream(BYTES_MAX)
    assert stream.feed(masked(Opcode.TEXT, b"before") + data) == ["before"]
    assert (stream.broken_with, stream.is_open) == (code, False)
    assert code.to_bytes(2, "big") in stream.to_send()
    assert stream.feed(masked(Opcode.TEXT, b"after")) == []


def test_a_close_is_answered() -> None:
    """The peer's code is known, and echoed."""
    stream = FrameStream(BYTES_MAX)
    assert stream.feed(masked(Opcode.CLOSE, (1001).to_bytes(2, "big"))) == []
    assert (stream.closed_by_peer_with, stream.is_open) == (1001, False)
    assert stream.to_send() == Frame(Opcode.CLOSE, (1001).to_bytes(2, "big")).serialize(mask=False)
    stream.close(4000, "late")
    assert stream.to_send() == b""


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_any_bytes_do_no_harm(pieces: list[bytes]) -> None:
    """Arbitrary bytes never raise; after the end nothing is read any more."""
    stream = FrameStream(BYTES_MAX)
    for piece in pieces:
        was_over = not stream.is_open
        texts = stream.feed(piece)
        assert not (was_over and texts)
        stream.to_send()
