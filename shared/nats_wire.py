"""What a NATS server says, cut into messages where the socket is read.

nats-py reads in a task that is woken for each read, and tries one expression after the other on a buffer that
it cuts at every step. Here the protocol of the socket cuts whole messages out of what was read, with one
expression for the line of each, and delivers them. What is no message goes to nats-py's task and parser; so
does what comes behind it, until the task has read all of it: the order is that of the wire.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import cast

import nats.errors
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.protocol.parser import Parser

Deliver = Callable[[int, bytes, bytes, bytes, bytes | None], None]
"""Takes subscription, subject, reply, body and headers of a message; does not raise."""

_MESSAGE = re.compile(rb"(H)?MSG (\S{1,4096}) (\d{1,18}) (?:(\S{1,4096}) )??(?(1)(\d{1,9}) )(\d{1,9})\r\n")
"""Its line: with headers or not, subject, subscription, reply, bytes of headers, of headers and body."""
READ_BYTES_MAX = 64 * 1024
"""Behind a larger read the others have a turn: libuv goes on reading as long as its 256 KB are filled."""

_MESSAGE_BEGINS = b"MH"


class WholeMessages(Parser):
    """Cuts messages out of what was read; every other line is left to `Parser`.

    `buf` keeps what is not complete yet, from the start of a line.
    """

    def __init__(self, client: Client, deliver: Deliver) -> None:
        self._deliver = deliver
        self._resets = 0
        super().__init__(client)

    def reset(self) -> None:
        """Forget what was read: the connection is another one."""
        super().reset()
        self._resets += 1
        self.is_parsing = False

    def cut(self, data: bytes) -> bytes:
        """Deliver the messages that are complete; returns what is left if that begins with no message."""
        buffer = bytes(self.buf) + data if self.buf else data
        self.buf.clear()
        deliver = self._deliver
        at = 0
        while (found := _MESSAGE.match(buffer, at)) is not None:
            _, subject, sid, reply, head_size, size = found.groups()
            start = found.end()
            end = start + int(size)
            body = start + int(head_size or 0)
            if body > end:
                break
            if len(buffer) < end + 2:
                self.buf += buffer[at:]
                return b""
            at = end + 2
            deliver(int(sid), subject, reply or b"", buffer[body:end], buffer[start:body] or None)
        return buffer[at:]

    async def parse(self, data: bytes = b"") -> None:
        """Take what came, whatever it is. Raises `ProtocolError` for what is no line of the protocol."""
        self.is_parsing = True
        resets = self._resets
        while data := self.cut(data):
            end = data.find(b"\r\n") + 2
            if end < 2:
                self.buf += data
                break
            self.buf += data[:end]
            if data[0] not in _MESSAGE_BEGINS:
                await super().parse()
                if resets != self._resets:
                    return
            if self.buf:
                raise nats.errors.ProtocolError("a line that is no protocol")
            data = data[end:]
        self.is_parsing = False


class SocketProtocol(asyncio.Protocol):
    """In the place of the protocol of asyncio's reader, for as long as nats-py reads from that."""

    def __init__(
        self,
        wire: asyncio.Transport,
        reader: asyncio.StreamReader,
        feed: asyncio.Protocol,
        parser: WholeMessages,
        client: Client,
    ) -> None:
        self._wire = wire
        self._reader = reader
        self._feed = feed
        self._parser = parser
        self._client = client

    @classmethod
    def install(cls, transport: TcpTransport, parser: WholeMessages, client: Client) -> None:
        """Read here from now on."""
        assert transport._io_reader is not None
        assert transport._io_writer is not None, "it is connected"
        wire = cast(asyncio.Transport, transport._io_writer.transport)  # uvloop's does not derive from it
        feed = wire.get_protocol()
        assert isinstance(feed, asyncio.Protocol)
        wire.set_protocol(cls(wire, transport._io_reader, feed, parser, client))

    def data_received(self, data: bytes) -> None:
        """Deliver what nothing stands before, and leave the rest to whoever reads."""
        waits = self._parser.is_parsing or self._reader._buffer  # type: ignore[attr-defined]
        rest = data if waits or not self._client.is_connected else self._parser.cut(data)
        if rest:
            self._feed.data_received(rest)  # which bounds what it holds
        elif len(data) > READ_BYTES_MAX:
            self._wire.pause_reading()
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        if not self._wire.is_closing():
            self._wire.resume_reading()

    def eof_received(self) -> bool | None:
        """Nothing comes any more."""
        return self._feed.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """It is over."""
        self._feed.connection_lost(error)

    def pause_writing(self) -> None:
        """The socket takes nothing more just now."""
        self._feed.pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        self._feed.resume_writing()
