"""What the server says is read as nats-py reads it, in the order of the wire, whichever way it takes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import nats.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.protocol.parser import Parser

from shared.nats_client import NatsClient
from shared.nats_wire import READ_BYTES_MAX
from tests.support.waiting import eventually

_subjects = st.text(st.sampled_from("aB9_-=."), min_size=1, max_size=12)

Heard = tuple[int, bytes, bytes, bytes, bytes | None]
PING = (0, b"PING", b"", b"", None)


class _Client(NatsClient):
    """Connected to a socket of the test; notes what it is told, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Heard] = []
        self.failed: list[Exception] = []
        self.resets_at_ping = False
        self._status = Client.CONNECTED

    def take(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self.heard.append((sid, subject, reply, data, headers))

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        """What nats-py's own parser has read."""
        self.take(sid, subject, reply, data, headers)

    async def _process_ping(self) -> None:
        if self.resets_at_ping:
            self._ps.reset()
        await asyncio.sleep(0)  # as when the answer has to wait for the socket
        self.heard.append(PING)

    async def _process_op_err(self, e: Exception) -> None:
        self.failed.append(e)


class _Wire(asyncio.Transport):
    """Never a byte but those that a test hands to its protocol."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.reads = True

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """There is no socket."""

    def pause_reading(self) -> None:
        assert self.reads
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol


@contextlib.asynccontextmanager
async def reading(client: _Client) -> AsyncIterator[_Wire]:
    """The socket of a client that has begun to read."""
    transport, loop = TcpTransport(), asyncio.get_running_loop()  # type: ignore[no-untyped-call]
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    wire = _Wire(protocol)
    transport._io_reader = reader
    transport._io_writer = asyncio.StreamWriter(wire, protocol, reader, loop)
    client._transport = transport
    task = asyncio.create_task(client._read_loop())
    await asyncio.sleep(0)
    yield wire
    task.cancel()
    await asyncio.wait([task])


async def turns_of_the_loop(count: int) -> None:
    """So far whoever is woken gets."""
    for _ in range(count):
        await asyncio.sleep(0)


HEAD = b"NATS/1.0\r\nA: 1\r\n\r\n"
Said = tuple[str, str, bytes, bool] | None
"""Subject, reply, body, and whether with headers; None is a PING."""
_said = st.none() | st.tuples(
    _subjects, st.sampled_from(["", "_INBOX.x", "12"]), st.binary(max_size=60), st.booleans()
)


def on_the_wire(one: Said) -> tuple[bytes, Heard]:
    """The bytes that say it, and what is to be heard."""
    if one is None:
        return b"PING\r\n", PING
    subject, reply, body, with_head = one
    words = f"{subject} 7 {reply} ".replace("  ", " ")
    if with_head:
        line = f"HMSG {words}{len(HEAD)} {len(HEAD) + len(body)}\r\n".encode() + HEAD
    else:
        line = f"MSG {words}{len(body)}\r\n".encode()
    heard = 7, subject.encode(), reply.encode(), body, HEAD if with_head else None
    return line + body + b"\r\n", heard


@given(st.lists(_said, max_size=8), st.lists(st.integers(1, 40), max_size=40))
async def test_messages_are_cut_out_wherever_reads_end(said: list[Said], sizes: list[int]) -> None:
    """However the stream is cut into reads, the same comes out as of nats-py's parser, in the same order."""
    wires = [on_the_wire(one) for one in said]
    stream = b"".join(each for each, _ in wires)
    theirs = _Client()
    await Parser(theirs).parse(stream)
    client = _Client()
    for size in [*sizes, len(stream)]:
        await client._ps.parse(stream[:size])
        stream = stream[size:]
    assert client.heard == theirs.heard == [heard for _, heard in wires]


@given(st.lists(st.tuples(_said, st.sampled_from([0, 0, 0, 1, 2, 9, 50])), max_size=8), st.data())
async def test_the_order_at_the_socket_is_that_of_the_wire(
    said: list[tuple[Said, int]], data: st.DataObject
) -> None:
    """However far the task has come that obeys the lines between, no message overtakes one of them.

    Each is said with a number: so many of its last bytes come with the next read.
    """
    client = _Client()
    expected, left = list[Heard](), b""
    async with reading(client) as wire:
        for one, late in [*said, (("end", "", b"", False), 0)]:
            each, heard = on_the_wire(one)
            expected.append(heard)
            left += each
            end = len(left) - late
            wire.protocol.data_received(left[: max(end, 0)])
            left = left[max(end, 0) :]
            await turns_of_the_loop(data.draw(st.integers(0, 3)))
        await turns_of_the_loop(50)
        assert client.heard == expected
        wire.protocol.data_received(b"MSG last 7 0\r\n\r\n")
        assert client.heard[-1][1] == b"last", "nothing waits any more, so it is heard at once"
    assert not client.failed


async def test_a_message_is_heard_while_the_socket_is_read() -> None:
    """No turn of the loop lies between, also if it comes in pieces; without a connection nobody hears it."""
    client = _Client()
    async with reading(client) as wire:
        wire.protocol.data_received(b"MSG a 7 3\r\none\r\nMSG b 7 r")
        assert [one[1] for one in client.heard] == [b"a"]
        await asyncio.sleep(0)
        wire.protocol.data_received(b" 3\r\ntw")
        await eventually(lambda: not client._messages.is_parsing)
        wire.protocol.data_received(b"o\r\n")
        assert client.heard[1:] == [(7, b"b", b"r", b"two", None)]
        client._status = Client.RECONNECTING
        wire.protocol.data_received(b"MSG c 7 0\r\n\r\n")
        assert len(client.heard) == 2


async def test_others_have_a_turn_behind_a_large_read() -> None:
    """A server that sends faster than it is read does not hold the loop: reading pauses for the turn."""
    client, message = _Client(), b"MSG a 7 9\r\n" + bytes(9) + b"\r\n"
    async with reading(client) as wire:
        for many in (READ_BYTES_MAX // len(message), READ_BYTES_MAX // len(message) + 1):
            wire.protocol.data_received(message * many)
            assert wire.reads is (len(message) * many <= READ_BYTES_MAX)
            await turns_of_the_loop(2)
            assert wire.reads


BAD = [
    *(b"MSG a\r\n", b"MSG a x 1\r\n", b"MSG a 1 r r 3\r\n", b"MSG a 1 -1\r\n", b"MSG a 1 1_0\r\n"),
    *(b"HMSG a 1 9 3\r\n", b"HMSG a 1 3\r\n", b"MSG a 1 12345678901234567890\r\n"),
    *(b"MOO a 1 3\r\n", b"HELLO\r\n", b"?\r\n"),
]


@pytest.mark.parametrize("line", BAD)
async def test_what_is_no_protocol(line: bytes) -> None:
    """Ends the connection instead of being waited for; what came before it counts."""
    with pytest.raises(nats.errors.ProtocolError):
        await _Client()._ps.parse(line)
    client = _Client()
    async with reading(client) as wire:
        wire.protocol.data_received(b"MSG a 7 0\r\n\r\n" + line + b"MSG b 7 0\r\n\r\n")
        await eventually(lambda: client.failed)
    assert [one[1] for one in client.heard] == [b"a"]
    assert isinstance(client.failed[0], nats.errors.ProtocolError)


async def test_what_was_read_of_another_connection_is_forgotten() -> None:
    """A connection that is begun anew while a line is obeyed: nothing of what came behind that is heard."""
    client = _Client()
    client.resets_at_ping = True
    await client._ps.parse(b"PING\r\nMSG a 7 0\r\n\r\nMSG b 7 9\r\n")
    assert client.heard == [PING]
    await client._ps.parse(b"MSG c 7 0\r\n\r\n")
    assert client.heard[1:] == [(7, b"c", b"", b"", None)]


@pytest.mark.parametrize("lost", [False, True])
async def test_the_end_of_a_socket_is_told(lost: bool) -> None:
    """A server that closes, or a connection that breaks, ends the reading."""
    client = _Client()
    async with reading(client) as wire:
        wire.protocol.data_received(b"MSG a 7 0\r\n\r\nMSG b")
        if lost:
            wire.protocol.connection_lost(ConnectionResetError())
        else:
            wire.protocol.eof_received()
        await eventually(lambda: client.failed)
    assert [one[1] for one in client.heard] == [b"a"]
    assert isinstance(client.failed[0], ConnectionResetError if lost else nats.errors.UnexpectedEOF)
