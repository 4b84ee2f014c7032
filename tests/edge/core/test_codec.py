"""The codec: whatever arrives is a frame or one documented error; what leaves is what RFC 6455 says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from websockets.frames import Frame as WsFrame
from websockets.frames import Opcode
from websockets.streams import StreamReader

from edge.core import codec
from edge.core.frames import ClientFrame, Pong, Send, UpdateChannel
from edge.core.server_frames import Ack, Ping
from shared.errors import BadFrame, BadRequest, InvalidId, InvalidText, ParleyError, RateLimited, UnknownType
from shared.ids import ChannelId, CommandId, Seq

ID = "019a0000-0000-7000-8000-000000000000"
DOCUMENTED = {"bad_frame", "bad_request", "unknown_type", "invalid_id", "invalid_text"}
TYPES = sorted(TypeAdapter(ClientFrame).json_schema()["discriminator"]["mapping"])

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_names = st.sampled_from(
    ["id", "channel", "text", "ref", "cursors", "token", "user", "imported", "seq", "kind"]
)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_surprise(data: bytes) -> None:
    """Bytes are a frame or a documented error; nothing else ever comes out."""
    _frame_or_error(data)


@given(st.text(max_size=200))
def test_arbitrary_text_never_surprises(text: str) -> None:
    """The same for any text."""
    _frame_or_error(text)


@given(st.sampled_from(TYPES), st.dictionaries(_names, _json, max_size=6))
def test_known_types_with_arbitrary_fields(kind: str, fields: dict[str, object]) -> None:
    """The same for JSON that looks like a command, surrogates and infinities included."""
    _frame_or_error(json.dumps({**fields, "type": kind}))


@given(st.text(st.characters(blacklist_categories=()), max_size=20))
def test_text_of_any_code_points(text: str) -> None:
    """A text is taken as it is, or refused with the position of its NUL or lone surrogate."""
    raw = json.dumps({"type": "send", "id": ID, "channel": "c", "text": text})
    bad = [at for at, char in enumerate(text) if char == "\x00" or 0xD800 <= ord(char) <= 0xDFFF]
    joined = json.loads(json.dumps(text))  # two escapes that make a pair are one character
    if joined != text:
        _frame_or_error(raw)
    elif bad:
        with pytest.raises(InvalidText, match=r"at position \d+"):
            codec.parse(raw)
    else:
        frame = codec.parse(raw)
        assert isinstance(frame, Send)
        assert frame.text == text


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", BadFrame, "position 0"),
        ('{"type":', BadFrame, "position 8"),
        ("[]", BadFrame, "an array"),
        ("null", BadFrame, "null"),
        ('"hello"', BadFrame, "a string"),
        ("[" * 100_000, BadFrame, "depth"),
        ('{"seq":NaN}', BadFrame, "position"),
        ('{"a":"\\ud800",' + "[" * 5000, BadFrame, "position"),
        ("{}", BadRequest, "type"),
        ('{"type":7}', BadRequest, "type"),
        ('{"type":' + "[" * 1000 + "]" * 1000 + "}", BadRequest, "type"),
        ('{"type":"sing"}', UnknownType, "sing"),
        ('{"type":"send","id":"x"}', InvalidId, "UUIDv7"),
        (f'{{"type":"join","id":"{ID}","channel":"a.b"}}', InvalidId, "channel"),
        (f'{{"type":"join","id":"{ID}"}}', BadRequest, "channel"),
        (f'{{"type":"edit","id":"{ID}","channel":"c","ref":0,"text":""}}', BadRequest, "ref"),
        (f'{{"type":"edit","id":"{ID}","channel":"c","ref":"1","text":""}}', BadRequest, "ref"),
        ('{"type":"read","channel":"c","seq":9007199254740992}', BadRequest, "seq"),
        (f'{{"type":"send","id":"{ID}","channel":"c","text":"ab\\ud800"}}', InvalidText, "position 2"),
        (f'{{"type":"send","id":"{ID}","channel":"c","text":"ab\\u0000"}}', InvalidText, "position 2"),
        ('{"type":"hello","cursors":{"\\ud800":{"epoch":"e","seq":1}}}', InvalidId, "channel"),
        (f'{{"type":"update_channel","id":"{ID}","channel":"c"}}', BadRequest, "exactly one"),
        (
            f'{{"type":"update_channel","id":"{ID}","channel":"c","name":"n","retention_days":7}}',
            BadRequest,
            "exactly one",
        ),
        (
            f'{{"type":"update_channel","id":"{ID}","channel":"c","retention_days":0}}',
            BadRequest,
            "retention_days",
        ),
        (
            f'{{"type":"update_channel","id":"{ID}","channel":"c","retention_days":36501}}',
            BadRequest,
            "retention_days",
        ),
        (
            f'{{"type":"update_channel","id":"{ID}","channel":"c","retention_days":"7"}}',
            BadRequest,
            "retention_days",
        ),
        (f'{{"type":"messages.expired","id":"{ID}","channel":"c","before":9}}', UnknownType, "expired"),
        (f'{{"type":"invite","id":"{ID}","channel":"c","user":"a\\u0007"}}', InvalidId, "control"),
    ],
)
def test_refusals_say_where(text: str, error: type[ParleyError], words: str) -> None:
    """Each kind of bad input has its own error, which names the place."""
    with pytest.raises(error) as refused:
        codec.parse(text)
    assert words in refused.value.message


def test_unknown_fields_are_ignored() -> None:
    """A newer client's fields do no harm (P1), not even with a lone surrogate in them."""
    frame = codec.parse(f'{{"type":"send","id":"{ID}","channel":"c","text":"t","mood":"\\udfff"}}')
    assert isinstance(frame, Send)


def test_correlation_survives_a_bad_frame() -> None:
    """The id is found in frames that are invalid otherwise, if it can be repeated safely (P11)."""
    assert codec.correlation(codec.read('{"id":"abc","type":"sing"}')) == "abc"
    for useless in ("7", '""', '"' + "x" * 65 + '"', '"a\\nb"', "null", '"\\ud800"'):
        assert codec.correlation(codec.read(f'{{"id":{useless}}}')) is None


def test_refusal_repeats_everything() -> None:
    """An error frame carries code, text, bound and time, and leaves out what is absent."""
    error = RateLimited("slower", retry_after_ms=50, limit="user")
    assert json.loads(codec.encode(codec.refusal(error, "i"))) == {
        "type": "error",
        "id": "i",
        "code": "rate_limited",
        "message": "slower",
        "retry_after_ms": 50,
        "limit": "user",
    }
    assert b"null" not in codec.encode(codec.refusal(BadFrame("no")))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_text_frame_reads_back(size: int) -> None:
    """A frame of every length class is read by an independent parser as one whole, unmasked text frame."""
    reader = StreamReader()
    reader.feed_data(codec.text_frame(b"x" * size))
    parsing = WsFrame.parse(reader.read_exact, mask=False, max_size=None)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    frame = done.value.value
    assert (frame.opcode, frame.fin, bytes(frame.data)) == (Opcode.TEXT, True, b"x" * size)


@given(st.lists(st.integers(1, 40_000), max_size=12), st.booleans())
def test_framed_events_are_all_there_in_order(sizes: list[int], batch: bool) -> None:
    """With or without batches, every event arrives once, in order; a batch is bounded (P1)."""
    bodies = [json.dumps({"n": n, "pad": "x" * size}).encode() for n, size in enumerate(sizes)]
    found: list[int] = []
    for payload in _payloads(codec.frame_events(bodies, batch=batch)):
        value = json.loads(payload)
        group = value if isinstance(value, list) else [value]
        assert batch or not isinstance(value, list)
        assert len(group) == 1 or len(payload) <= codec.BATCH_BYTES_MAX + len(group) + 2
        found += [event["n"] for event in group]
    assert found == list(range(len(sizes)))


@given(st.integers(1, 2**53 - 1), st.booleans())
def test_an_ack_is_the_models(seq: int, duplicate: bool) -> None:
    """What is written by hand for every command is what the documented frame would be."""
    id_, channel, ts = CommandId(ID), ChannelId("c_-1"), "2026-11-25T04:00:00.123Z"
    model = Ack(id=id_, channel=channel, seq=Seq(seq), ts=ts, duplicate=duplicate)
    assert codec.ack(id_, channel, Seq(seq), ts, duplicate=duplicate) == codec.encode(model)


def test_absent_fields_are_not_sent() -> None:
    """Optional fields are left out rather than null."""
    assert json.loads(codec.encode(Ping(heads={}, server_time="t"))) == {
        "type": "ping",
        "heads": {},
        "server_time": "t",
    }


def _frame_or_error(data: str | bytes) -> None:
    try:
        codec.parse(data)
    except ParleyError as error:
        assert error.code in DOCUMENTED
        codec.encode(codec.refusal(error))


def _payloads(frames: bytes) -> list[bytes]:
    payloads: list[bytes] = []
    reader = StreamReader()
    reader.feed_data(frames)
    reader.feed_eof()
    while True:
        parsing = WsFrame.parse(reader.read_exact, mask=False, max_size=None)
        try:
            next(parsing)
        except StopIteration as done:
            payloads.append(bytes(done.value.data))
        except EOFError:
            return payloads


def test_a_ping_is_the_models() -> None:
    """The heartbeat's short cut writes what the model would."""
    heads = {ChannelId("a"): Seq(3), ChannelId("b"): Seq(2**53 - 1)}
    for known in (heads, {}):
        assert codec.ping(known, "t") == codec.encode(Ping(heads=known, server_time="t"))


def test_a_pong_that_is_not_read_is_one() -> None:
    """What is taken for a pong by its spelling is one by its meaning."""
    assert {type(codec.parse(text)) for text in codec.PONGS} == {Pong}


@pytest.mark.parametrize(
    ("fields", "days", "is_about_retention"),
    [
        ('"retention_days":7', 7, True),
        ('"retention_days":null', None, True),
        ('"name":"n","retention_days":null', None, False),
        ('"archived":false', None, False),
    ],
)
def test_null_means_for_ever_where_nothing_else_is_said(
    fields: str, days: int | None, is_about_retention: bool
) -> None:
    """A client that writes every field, null where it says nothing, changes what it names."""
    frame = codec.parse(f'{{"type":"update_channel","id":"{ID}","channel":"c",{fields}}}')
    assert isinstance(frame, UpdateChannel)
    assert (frame.retention_days, frame.is_about_retention) == (days, is_about_retention)
