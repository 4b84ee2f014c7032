"""The codec: whatever arrives, it is a frame or one `ParleyError`; what leaves is legal WebSocket."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core import codec
from edge.core.frames import Hello, Pong
from shared.errors import BadFrame, BadRequest, ParleyError, UnknownType

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
TYPES = st.sampled_from(["hello", "send", "edit", "resume", "create_channel", "read", "typing", "nonsense"])


def frames_in(data: bytes) -> Iterator[bytes]:
    """Payloads of unmasked text frames, read as RFC 6455 says."""
    at = 0
    while at < len(data):
        assert data[at] == 0x81
        size, at = data[at + 1], at + 2
        if size == 126:
            size, at = int.from_bytes(data[at : at + 2], "big"), at + 2
        elif size == 127:
            size, at = int.from_bytes(data[at : at + 8], "big"), at + 8
        yield data[at : at + size]
        at += size


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_arbitrary_input_is_a_frame_or_a_refusal(data: bytes | str) -> None:
    """No input whatsoever raises anything but a `ParleyError` with a code (AT-80)."""
    try:
        codec.parse(data)
    except ParleyError as error:
        assert error.code
        assert codec.encode(codec.refusal(error))


@given(TYPES, st.dictionaries(st.sampled_from(["id", "channel", "text", "seq", "cursors", "token"]), JSON))
def test_arbitrary_fields_are_a_frame_or_a_refusal(kind: str, fields: dict[str, object]) -> None:
    """Known types with wild fields are validated, and the refusal can be sent."""
    raw = {**fields, "type": kind}
    try:
        codec.parse(json.dumps(raw))
    except ParleyError as error:
        json.loads(codec.encode(codec.refusal(error, codec.correlation(raw))))


def test_unknown_fields_are_ignored_and_types_are_not() -> None:
    """P1: unknown fields pass, unknown types are named, what is no object is no frame."""
    assert isinstance(codec.parse('{"type":"pong","extra":1}'), Pong)
    assert isinstance(codec.parse('{"type":"hello","token":"t"}'), Hello)
    for text, refusal in (('{"type":"sing"}', UnknownType), ("[]", BadFrame), ('{"type":1}', BadRequest)):
        with pytest.raises(refusal):
            codec.parse(text)


@given(st.lists(st.integers(1, 70_000), min_size=1, max_size=6), st.booleans())
def test_events_survive_framing(sizes: list[int], batch: bool) -> None:
    """Framed events come out whole and in order, one a frame or in arrays that stay below their bound."""
    bodies = [json.dumps({"n": number, "t": "x" * size}).encode() for number, size in enumerate(sizes)]
    payloads = list(frames_in(codec.frame_events(bodies, batch=batch)))
    found: list[object] = []
    for payload in payloads:
        value = json.loads(payload)
        found += value if isinstance(value, list) else [value]
        assert not isinstance(value, list) or len(payload) <= codec.BATCH_BYTES_MAX + len(value) + 2
    assert found == [json.loads(body) for body in bodies]
    assert batch or len(payloads) == len(bodies)
