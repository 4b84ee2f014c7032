"""The load client's parser and mask: if they were wrong, every benchmark would be."""

from __future__ import annotations

import random

import pytest
from websockets.frames import Frame as Reference
from websockets.frames import Opcode
from websockets.streams import StreamReader

from tests.bench.frames import CLOSE, PING, TEXT, FrameScanner, masked_frame

SIZES = (0, 1, 125, 126, 127, 65535, 65536, 70_000)


def _server(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    return Reference(Opcode(opcode), payload, fin).serialize(mask=False)


def test_messages_are_the_same_whatever_the_pieces() -> None:
    """Frames of every length form, cut at random places, come out whole and in order."""
    chosen = random.Random(11)
    sent = [(chosen.choice([TEXT, PING]), bytes([n % 251]) * size) for n, size in enumerate(SIZES * 3)]
    sent = [(opcode if len(body) < 126 else TEXT, body) for opcode, body in sent]
    stream = b"".join(_server(opcode, body) for opcode, body in sent)
    for _ in range(20):
        scanner, found, at = FrameScanner(), [], 0
        while at < len(stream):
            end = at + chosen.choice([1, 2, 3, 7, 1000, 65_000])
            found += scanner.feed(stream[at:end])
            at = end
        assert found == sent


def test_one_byte_at_a_time() -> None:
    """A read may end anywhere, inside the extended length, too."""
    sent = [(TEXT, b"x" * size) for size in (3, 126, 300)]
    scanner = FrameScanner()
    stream = b"".join(_server(*frame) for frame in sent)
    assert [frame for byte in stream for frame in scanner.feed(bytes([byte]))] == sent


def test_fragments_are_joined_and_control_frames_pass_between_them() -> None:
    """A fragmented message comes out once, after the ping that arrived in its middle (RFC 6455, 5.4)."""
    stream = (
        _server(TEXT, b"one ", fin=False)
        + _server(PING, b"?")
        + _server(0, b"two ", fin=False)
        + _server(0, b"three")
        + _server(CLOSE, b"\x03\xe8")
    )
    assert FrameScanner().feed(stream) == [(PING, b"?"), (TEXT, b"one two three"), (CLOSE, b"\x03\xe8")]


@pytest.mark.parametrize("size", SIZES)
def test_a_masked_frame_is_one_that_a_server_reads(size: int) -> None:
    """What we mask, an independent parser unmasks to the same bytes."""
    payload = random.Random(size).randbytes(size)
    reader = StreamReader()
    reader.feed_data(masked_frame(TEXT, payload))
    parsing = Reference.parse(reader.read_exact, mask=True)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    frame = done.value.value
    assert (frame.opcode, bytes(frame.data), frame.fin) == (Opcode.TEXT, payload, True)
