"""A fan-out counts only if the order is proven: what a listener says first, and what it takes for a fault."""

from __future__ import annotations

import orjson
import pytest
from websockets.frames import Frame, Opcode

from tests.bench import fan_out
from tests.bench.dialects import DIALECTS, Dialect
from tests.bench.listener import Listener
from tests.bench.marks import marked

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
PLAIN_TEXT = "x" * 60


def _sent(payload: bytes | str) -> bytes:
    data = payload.encode() if isinstance(payload, str) else payload
    return Frame(Opcode.TEXT, data).serialize(mask=False)


def _said(frames: bytes) -> list[bytes]:
    """The payloads that a client wrote, unmasked."""
    found = []
    while frames:
        size, start = frames[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(frames[2:4], "big"), 4
        mask, body = frames[start : start + 4], frames[start + 4 : start + 4 + size]
        found.append(bytes(byte ^ mask[at % 4] for at, byte in enumerate(body)))
        frames = frames[start + 4 + size :]
    return found


def _message(number: int) -> bytes:
    return _sent(orjson.dumps({"text": marked(number, PLAIN_TEXT)}))


def _joined(dialect: Dialect | None = None) -> Listener:
    listener = Listener(dialect or Dialect())
    listener.heard(UPGRADED)
    assert listener.joined
    return listener


def test_parley_joins_with_a_hello_and_answers_heartbeats() -> None:
    """Joined once `welcome` lists the channel, in whatever pieces it comes; a ping in between is answered."""
    listener = Listener(DIALECTS["parley"]("token", "c"))
    assert listener.request("127.0.0.1", 80).startswith(b"GET /v1/ws HTTP/1.1\r\n")
    [hello] = _said(listener.heard(UPGRADED))
    assert orjson.loads(hello) == {"type": "hello", "token": "token", "client": "fan-out", "batch": True}
    assert listener.heard(_sent('{"type":"welcome","channels":[{"id":"other"}]}')) == b""
    assert not listener.joined
    page = _sent('{"type":"channels","channels":[{"id":"c"}]}')
    listener.heard(page[:7])
    assert not listener.joined
    listener.heard(page[7:])
    assert listener.joined
    assert _said(listener.heard(_sent('{"type":"ping","heads":{"c":1}}'))) == [b'{"type":"pong"}']
    assert _said(listener.heard(_message(1) + _sent('{"type":"ping"}'))) == [b'{"type":"pong"}']
    assert (listener.last, listener.fault) == (1, "")


def test_centrifugo_connects_then_subscribes() -> None:
    """The second reply joins; both may come in one frame, a line each."""
    listener = Listener(DIALECTS["centrifugo"]())
    assert b"GET /connection/websocket " in listener.request("127.0.0.1", 80)
    [connect] = _said(listener.heard(UPGRADED))
    assert orjson.loads(connect) == {"id": 1, "connect": {}}
    [subscribe] = _said(listener.heard(_sent('{"id":1,"connect":{"client":"x"}}')))
    assert orjson.loads(subscribe) == {"id": 2, "subscribe": {"channel": "fan-out"}}
    assert not listener.joined
    listener.heard(_sent('{"id":2,"subscribe":{}}'))
    assert listener.joined


def test_socket_io_joins_its_namespace() -> None:
    """`0{…}` is answered `40`, and `40{…}` is the end of it."""
    listener = Listener(DIALECTS["socket.io"]())
    assert b"GET /socket.io/?EIO=4&transport=websocket " in listener.request("127.0.0.1", 80)
    assert listener.heard(UPGRADED) == b""
    assert _said(listener.heard(_sent('0{"sid":"a","upgrades":[]}'))) == [b"40"]
    assert not listener.joined
    listener.heard(_sent('40{"sid":"b"}'))
    assert listener.joined


@pytest.mark.parametrize(
    ("dialect", "refusal"),
    [
        (DIALECTS["parley"]("token", "c"), '{"type":"bye","code":4401}'),
        (DIALECTS["centrifugo"](), '{"id":1,"error":{"code":101}}'),
        (DIALECTS["socket.io"](), '44{"message":"no"}'),
    ],
)
def test_a_refusal_is_a_fault(dialect: Dialect, refusal: str) -> None:
    """Whoever is not let in says why, instead of waiting for ever."""
    listener = Listener(dialect)
    listener.heard(UPGRADED + _sent(refusal))
    assert "refused" in listener.fault
    assert not listener.joined


def test_an_upgrade_that_is_refused_is_a_fault() -> None:
    """The status line is the reason."""
    listener = Listener(Dialect())
    listener.heard(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    assert listener.fault == "HTTP/1.1 503 Service Unavailable"


def test_marks_are_counted_whatever_the_pieces() -> None:
    """Each message counts once, wherever a read ends; several in one frame count each."""
    stream = b"".join(_message(number) for number in (1, 2))
    stream += _sent(orjson.dumps([{"text": marked(number, PLAIN_TEXT)} for number in (3, 4, 5)]))
    for size in (1, 2, 16, 17, 18, 100, 1000):
        listener = _joined()
        for at in range(0, len(stream), size):
            listener.heard(stream[at : at + size])
        assert (listener.last, listener.fault) == (5, "")


@pytest.mark.parametrize("numbers", [(2,), (1, 3), (1, 1), (1, 2, 2, 3), (1, 3, 2, 4)])
def test_what_is_lost_doubled_or_out_of_place_is_a_fault(numbers: tuple[int, ...]) -> None:
    """In one read or in several."""
    at_once, one_by_one = _joined(), _joined()
    at_once.heard(b"".join(_message(number) for number in numbers))
    for number in numbers:
        one_by_one.heard(_message(number))
    assert at_once.fault
    assert one_by_one.fault


def test_a_connection_that_ends_is_a_fault() -> None:
    """Nobody is counted who has left."""
    listener = _joined()
    listener.ended()
    assert listener.fault == "closed"


def test_the_message_of_the_peers_is_the_event_of_the_edge() -> None:
    """As long, with the text in it, and the mark survives."""
    event = orjson.loads(fan_out.message(marked(7, fan_out.TEXT)))
    assert event["text"] == marked(7, fan_out.TEXT)
    assert len(event["text"]) == len(fan_out.TEXT)
    assert 250 <= len(fan_out.message(fan_out.TEXT)) <= 300
    listener = _joined()
    listener.heard(_sent(fan_out.message(marked(1, fan_out.TEXT))))
    assert listener.last == 1


def test_ratios_are_of_the_same_turn() -> None:
    """The median of ratios, not the ratio of medians; targets stand at 5,000 members, one by one."""

    def sample(cpu_us: float) -> fan_out.Sample:
        turn = fan_out.Turn({"server": cpu_us, "load": 1.0, "nats": 0.5}, 10.0)
        return fan_out.Sample(turn, turn, 1.0)

    samples = [
        {fan_out.PARLEY: sample(10.0), fan_out.SEND_LOOP: sample(10.0)},
        {fan_out.PARLEY: sample(40.0), fan_out.SEND_LOOP: sample(20.0)},
        {fan_out.PARLEY: sample(12.0), fan_out.SEND_LOOP: sample(4.0)},
    ]
    first = fan_out.figures_of(5000, samples)[0]
    assert (first.value, first.reference, first.ratio) == (12.0, 10.0, 2.0)
    assert (first.target, first.judged, first.met) == (1.3, "ratio", False)
    assert fan_out.figures_of(1000, samples)[0].target is None
    per_s = next(one for one in fan_out.figures_of(1000, samples) if one.unit == "/s")
    assert per_s.value == pytest.approx(1e6 / 12)
    assert per_s.met is False


def test_without_any_peer_the_edge_is_still_measured() -> None:
    """No compiler, no node, no Go: the figure stands alone."""
    turn = fan_out.Turn({"server": 9.0, "load": 1.0, "nats": 0.5}, 10.0)
    first = fan_out.figures_of(1000, [{fan_out.PARLEY: fan_out.Sample(turn, turn, 1.0)}])[0]
    assert (first.value, first.reference) == (9.0, None)
