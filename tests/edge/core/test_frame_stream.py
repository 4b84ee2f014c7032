"""The client's bytes become texts, or the connection ends with the code of RFC 6455; nothing raises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol, State

from edge.core.frame_stream import FrameStream

BYTES_MAX = 1000
KEY = b"\x11\x22\x33\x44"


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


class Reference:
    """The same over `websockets`' protocol."""

    def __init__(self) -> None:
        self.protocol = Protocol(SERVER, max_size=BYTES_MAX)
        self.parts: list[bytes] = []
        self.is_binary = False

    def feed(self, data: bytes) -> list[str]:
        self.protocol.receive_data(data)
        texts = []
        for event in self.protocol.events_received():
            assert isinstance(event, Frame)
            if event.opcode in (Opcode.TEXT, Opcode.BINARY):
                self.is_binary = event.opcode is Opcode.BINARY
                self.parts = []
            elif event.opcode is not Opcode.CONT:
                continue
            self.parts.append(bytes(event.data))
            if event.fin:
                texts.append(b"".join(self.parts).decode(errors="replace" if self.is_binary else "strict"))
        return texts

    @property
    def outcome(self) -> tuple[bool, bool, int | None]:
        """Whether it is open, whether it is broken, and what the peer closed with."""
        protocol = self.protocol
        is_broken = protocol.parser_exc is not None
        close = protocol.close_rcvd
        return protocol.state is State.OPEN, is_broken, (close and not is_broken and int(close.code)) or None


frames = st.builds(
    lambda opcode, fin, reserved, data, mask: _any_frame(opcode, fin, reserved, data, mask=mask),
    st.sampled_from((0, 1, 1, 1, 2, 0, 8, 9, 10, 3, 11)),
    st.sampled_from((True, True, True, False)),
    st.sampled_from((0, 0, 0, 0, 0, 0, 0x40, 0x10)),
    st.one_of(
        st.text(max_size=150).map(str.encode),
        st.sampled_from(
            (b"", b"\x03\xe8", b"\x03\xe9bye", b"\x03\xed", b"\x0f\xa0", b"\x03", b"\x03\xe8\xc3")
        ),
        st.integers(100, 700).map(lambda size: b"x" * size),
    ),
    st.sampled_from((True,) * 9 + (False,)),
)


def _any_frame(opcode: int, fin: bool, reserved: int, data: bytes, *, mask: bool) -> bytes:
    """A frame, legal or not."""
    size, flag = len(data), 0x80 if mask else 0
    head = bytes((0x80 * fin | reserved | opcode,))
    head += bytes((flag | size,)) if size < 126 else bytes((flag | 126,)) + size.to_bytes(2, "big")
    return head + (KEY + bytes(byte ^ KEY[at % 4] for at, byte in enumerate(data)) if mask else data)


@given(st.lists(frames, max_size=8), st.integers(1, 900), st.booleans())
def test_it_is_what_websockets_does(sent: list[bytes], size: int, closing: bool) -> None:
    """Any sequence of frames, however it is cut: the same texts, answers and end."""
    ours, theirs = FrameStream(BYTES_MAX), Reference()
    if closing:
        ours.close(4000, "late")
        theirs.protocol.send_close(4000, "late")
    data = b"".join(sent)
    assert ours.to_send() == b"".join(theirs.protocol.data_to_send())
    for at in range(0, len(data), size):
        expected: list[str] | None
        try:
            expected = theirs.feed(data[at : at + size])
        except UnicodeDecodeError:  # what the library leaves to its user
            expected = None
        found = ours.feed(data[at : at + size])
        if expected is None:
            assert ours.broken_with == 1007
            return
        assert found == expected
        is_broken = ours.broken_with is not None
        assert (ours.is_open, is_broken, ours.closed_by_peer_with) == theirs.outcome
        said = b"".join(theirs.protocol.data_to_send())
        assert _without_reasons(ours.to_send()) == _without_reasons(said)
        if is_broken:
            assert theirs.protocol.close_sent is not None
            assert closing or ours.broken_with == theirs.protocol.close_sent.code
            return


def _without_reasons(said: bytes) -> list[tuple[int, bytes]]:
    """Opcodes and payloads; of a close the code alone: the library's reasons are its own."""
    found, at = [], 0
    while at < len(said):
        opcode, size = said[at] & 0x0F, said[at + 1]
        payload = said[at + 2 : at + 2 + size]
        found.append((opcode, payload[:2] if opcode == Opcode.CLOSE else payload))
        at += 2 + size
    return found
