"""What is cheaper than nats-py's does the same, and the pinned version still asks for it."""

from __future__ import annotations

import asyncio
import inspect
import re

import nats.errors
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.protocol.parser import Parser

from shared.bus import Bus, Message
from shared.errors import Unavailable
from shared.nats_client import NatsClient, _Interest, read_headers
from tests.support.nats import NatsServer
from tests.support.waiting import eventually

_names = st.text(st.sampled_from("aZ9-_"), min_size=1, max_size=8)
_values = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), max_size=20)
_subjects = st.text(st.sampled_from("aB9_-=."), min_size=1, max_size=12)


@given(st.dictionaries(_names, _values, max_size=6))
@example({"Nats-Msg-Id": "c/u/1", "Nats-Sequence": "7", "a": "b:c"})
@example({"Nats-Msg-Id": "c/u/1: 2", "Nats-Sequence": "7"})
def test_headers_read_as_nats_py_reads_them(headers: dict[str, str]) -> None:
    """Names and values as they were sent."""
    raw = "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    assert read_headers(b"NATS/1.0\r\n" + raw.encode()) == headers
    assert Client()._parse_header_lines(raw.encode()) == headers


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


class _Heard(NatsClient):
    """Notes what the parser hands over."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[tuple[int, bytes, bytes, bytes, bytes | None]] = []
        self.pings = 0

    def take(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        """A message."""
        self.messages.append((sid, subject, reply, data, headers))

    async def _process_ping(self) -> None:
        self.pings += 1


_sent = st.lists(
    st.none()  # a PING
    | st.tuples(_subjects, st.sampled_from(["", "_INBOX.x"]), st.binary(max_size=60), st.booleans()),
    max_size=8,
)


@given(_sent, st.lists(st.integers(1, 40), max_size=40))
async def test_messages_are_cut_out_wherever_reads_end(
    sent: list[tuple[str, str, bytes, bool] | None], sizes: list[int]
) -> None:
    """However the stream is cut into reads, the same messages come out, and other lines are obeyed."""
    stream = b""
    expected = []
    head = b"NATS/1.0\r\nA: 1\r\n\r\n"
    for one in sent:
        if one is None:
            stream += b"PING\r\n"
            continue
        subject, reply, body, with_head = one
        words = f"{subject} 7 {reply} ".replace("  ", " ")
        if with_head:
            stream += f"HMSG {words}{len(head)} {len(head) + len(body)}\r\n".encode() + head + body + b"\r\n"
        else:
            stream += f"MSG {words}{len(body)}\r\n".encode() + body + b"\r\n"
        expected.append((7, subject.encode(), reply.encode(), body, head if with_head else None))
    client = _Heard()
    for size in [*sizes, len(stream)]:
        await client._ps.parse(stream[:size])
        stream = stream[size:]
    assert client.messages == expected
    assert client.pings == sent.count(None)


@pytest.mark.parametrize(
    "line",
    [b"MSG a\r\n", b"MSG a x 1\r\n", b"HMSG a 1 9 3\r\n", b"MSG a 1 r r 3\r\n", b"MOO a 1 3\r\n", b"?\r\n"],
)
async def test_what_is_no_protocol(line: bytes) -> None:
    """Ends the connection instead of being waited for."""
    with pytest.raises(nats.errors.ProtocolError):
        await _Heard()._ps.parse(line)


@pytest.mark.parametrize(
    ("subject", "headers", "error"),
    [
        ("a b", None, nats.errors.BadSubjectError),
        ("a\r\nPUB x 0", None, nats.errors.BadSubjectError),
        ("", None, nats.errors.BadSubjectError),
        ("a", {"n": "v\r\nx: y"}, nats.errors.BadHeaderError),
        ("a", {"n\n": "v"}, nats.errors.BadHeaderError),
    ],
)
async def test_what_would_break_the_protocol(
    bus: Bus, subject: str, headers: dict[str, str] | None, error: type[Exception]
) -> None:
    """Is refused before a byte of it is sent."""
    with pytest.raises(error):
        bus._client.send(subject, b"x", headers=headers)
    with pytest.raises(nats.errors.MaxPayloadError):
        bus._client.send("a", b"x" * (bus._client.max_payload + 1))


async def test_socket_that_takes_nothing(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it is bounded: then sending is refused, and goes on when the socket has drained."""
    monkeypatch.setattr("shared.nats_client.UNSENT_BYTES_MAX", -1)
    with pytest.raises(Unavailable):
        await bus.publish("a", b"x")
    monkeypatch.undo()
    await bus.publish("a", b"x")


def test_nats_py_still_asks_for_these_methods() -> None:
    """The pinned version has what is overridden, and what is read of it."""
    assert "self.nc._process_msg(" in inspect.getsource(Parser.parse)
    assert "await self._ps.parse(b)" in inspect.getsource(Client._read_loop)
    assert "self._transport.writelines(self._pending[:])" in inspect.getsource(Client._flusher)
    assert "self._io_writer.write(" in inspect.getsource(TcpTransport.write)
    assert list(inspect.signature(Client._process_msg).parameters) == list(
        inspect.signature(NatsClient._process_msg).parameters
    )
    assert {"_pending", "_pending_data_size", "_ps", "_sid", "_subs", "_max_payload", "_transport"} <= set(
        vars(Client())
    )
    again = inspect.getsource(Client._attempt_reconnect)
    assert "prot_command.sub_cmd(sub._subject, sub._queue, sid)" in again
    read = "".join(inspect.getsource(part) for part in (Client._attempt_reconnect, Client._close))
    assert set(re.findall(r"\bsub\.(\w+)", read)) <= set(dir(_Interest))


async def test_headers_arrive(bus: Bus) -> None:
    """What is sent with a message is there when it arrives, and a 503 is still seen as such."""
    arrived: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    await bus.subscribe("headers.test", arrived.set_result)
    await bus.publish("headers.test", b"x", headers={"One": "1", "Zwei": "größer: 2"})
    async with asyncio.timeout(30):
        assert (await arrived).headers == {"One": "1", "Zwei": "größer: 2"}
    with pytest.raises(Exception, match="nobody serves"):
        await bus.request("nobody.here", b"", timeout_s=30)


async def test_messages_of_all_subscriptions_come_in_the_order_of_the_wire(bus: Bus) -> None:
    """A connection has one order, also between two subscriptions; an error in one callback stops nothing."""
    seen: list[str] = []
    done = asyncio.Event()

    def note(message: Message) -> None:
        seen.append(message.subject)
        if message.subject == "order.end":
            done.set()
        if message.body == b"7":
            raise RuntimeError("a bug in a callback")

    for subject in ("order.a", "order.b", "order.end"):
        await bus.subscribe(subject, note)
    sent = [f"order.{'ab'[number % 3 % 2]}" for number in range(300)]
    for number, subject in enumerate(sent):
        await bus.publish(subject, str(number).encode())
    await bus.publish("order.end", b"")
    async with asyncio.timeout(30):
        await done.wait()
    assert seen == [*sent, "order.end"]


async def test_subscriptions_of_a_lost_connection_go_on(
    fresh_bus: Bus, fresh_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those from before and those made meanwhile, each heard once; what was given up is not heard."""
    heard: list[str] = []
    all_heard = asyncio.Event()

    def note(message: Message) -> None:
        heard.append(message.subject)
        if message.subject == "again.end":
            all_heard.set()

    reconnected = asyncio.Event()
    fresh_bus.on_reconnect(reconnected.set)
    await fresh_bus.subscribe("again.before", note)
    given_up = await fresh_bus.subscribe("again.*.given_up", note)
    fresh_nats_server.kill()
    await eventually(lambda: not fresh_bus.connected)
    await given_up.unsubscribe()
    for subject in ("again.while", "again.end"):
        await fresh_bus.subscribe(subject, note)
    monkeypatch.setattr("shared.nats_client.UNSENT_BYTES_MAX", 0)
    with pytest.raises(Unavailable):
        await fresh_bus.subscribe("again.too_much", note)
    monkeypatch.undo()
    fresh_nats_server.start()
    async with asyncio.timeout(30):
        await reconnected.wait()
        for subject in ("again.before", "again.x.given_up", "again.too_much", "again.while", "again.end"):
            await fresh_bus.publish(subject, b"")
        await all_heard.wait()
    assert heard == ["again.before", "again.while", "again.end"]


async def test_subscribing_takes_no_task(bus: Bus) -> None:
    """Thousands of sessions that come back at once subscribe once each."""
    before = len(asyncio.all_tasks())
    subscriptions = [await bus.subscribe(f"no.task.{number}", print) for number in range(20)]
    assert len(asyncio.all_tasks()) == before
    for subscription in subscriptions:
        await subscription.unsubscribe()
