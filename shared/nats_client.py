"""nats-py's client, made cheaper where every message passes (measured 2026-11-25, see shared/DESIGN.md).

* Reading: messages are cut out (`nats_wire.py`), and their headers read (`nats_headers.py`), where the socket
  is read.
* Delivery: nats-py puts a message into a queue and wakes a task, which calls the callback in the next turn of
  the loop. Ours are synchronous and quick, so they are called where the message is read: one turn less on
  the way to every ack and event, no queue that can overflow, and order across subscriptions as on the wire.
  So a subscription needs no queue and no task either: with nats-py's, each took both.
* Writing: nats-py wakes a task that writes, with every subscription too. Here everything of one turn of the
  loop is written with one call at its end. What the socket has not taken is bounded by `UNSENT_BYTES_MAX`;
  beyond it `send` refuses.

What of nats-py is used beyond its interface is listed, and held to the pinned version, in
`tests/shared/test_nats_client.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import nats.errors
import structlog
from nats.aio.client import DEFAULT_FLUSH_TIMEOUT, Client, Srv
from nats.aio.transport import TcpTransport

from shared.envelope import Message
from shared.nats_headers import VERSION, read_headers
from shared.nats_wire import SocketProtocol, WholeMessages

UNSENT_BYTES_MAX = 8 * 1024 * 1024

_log = structlog.get_logger()

Take = Callable[[Message], None]
"""A subscription's callback: quick, synchronous, called in the order of the wire."""


class _Interest:
    """A subscription in nats-py's list: what it reads of one when it reconnects and closes, and `take`."""

    __slots__ = (
        *("_id", "_subject", "_queue", "_max_msgs", "_received"),
        *("_wait_for_msgs_task", "_message_iterator", "_pending_next_msgs_calls", "take"),
    )

    def __init__(self, sid: int, subject: str, queue: str, take: Take) -> None:
        self._id = sid
        self._subject = subject
        self._queue = queue
        self._max_msgs = self._received = 0
        self._wait_for_msgs_task = self._message_iterator = self._pending_next_msgs_calls = None
        self.take = take


class NatsClient(Client):
    """Use it as nats-py's own, but subscribe with `listen` and publish with `send`."""

    def __init__(self) -> None:
        super().__init__()
        self._ps = self._messages = WholeMessages(self, self.take)
        self._is_flush_due = False

    def listen(self, subject: str, queue: str, take: Take) -> int:
        """Subscribe; the number is for `unlisten`. While disconnected it begins with the next connection.

        Raises `nats.errors.Error`: closed for good, a subject that is none, or too much that waits for the
        next connection.
        """
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        if len(subject.split()) != 1 or (queue and len(queue.split()) != 1):
            raise nats.errors.BadSubjectError
        if not self.is_connected and self._pending_data_size > UNSENT_BYTES_MAX:
            raise nats.errors.OutboundBufferLimitError
        self._sid += 1
        self._subs[self._sid] = _Interest(self._sid, subject, queue, take)  # type: ignore[assignment]
        self._tell(f"SUB {subject} {queue} {self._sid}\r\n".encode())
        return self._sid

    def unlisten(self, number: int) -> None:
        """Hear no more of a subscription. (A server that is away has forgotten it.)"""
        if self._subs.pop(number, None) is not None and self.is_connected:
            self._tell(f"UNSUB {number}\r\n".encode())

    def _tell(self, command: bytes) -> None:
        """Said twice, here and by nats-py when it reconnects, the server takes it once."""
        self._pending.append(command)
        self._pending_data_size += len(command)
        self._flush_soon()

    def send(
        self, subject: str, body: bytes, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a message at the end of this turn of the loop, behind everything that was sent before.

        Raises `nats.errors.Error`: not connected, too large, a subject or header that would break the
        protocol, or a socket that takes nothing any more.
        """
        if not self.is_connected:  # nats-py would queue it and send it after the reconnect
            raise nats.errors.ConnectionClosedError
        if len(body) > self._max_payload:
            raise nats.errors.MaxPayloadError
        if not self._is_flush_due and self._unsent_bytes() > UNSENT_BYTES_MAX:
            raise nats.errors.OutboundBufferLimitError
        self._pending.append(_command(subject, body, reply, headers))
        self._flush_soon()

    def _unsent_bytes(self) -> int:
        """What the socket has not taken yet; over WebSocket nats-py bounds it itself."""
        writer = self._transport._io_writer if isinstance(self._transport, TcpTransport) else None
        return writer.transport.get_write_buffer_size() if writer is not None else 0

    def _flush_soon(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            asyncio.get_running_loop().call_soon(self._flush_now)

    async def flush(self, timeout: int = DEFAULT_FLUSH_TIMEOUT) -> None:
        """As nats-py's, behind everything that was sent and subscribed to before.

        Given up, nats-py's cancels what the server's answer is for, and the answer then ends its reading.
        """
        if not self.is_connected:
            raise nats.errors.ConnectionClosedError
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._flush_now()
        await self._send_ping(answered)
        await asyncio.wait([answered], timeout=timeout)
        if not answered.done():
            raise nats.errors.FlushTimeoutError

    def _flush_now(self) -> None:
        self._is_flush_due = False
        if self._pending and self.is_connected and self._transport is not None:
            self._transport.write(b"".join(self._pending))
            self._pending = []
            self._pending_data_size = 0

    async def _connect_to_server(self, s: Srv) -> None:
        if self.is_closed:  # Python 3.11's `wait_for` loses a cancellation that meets a refused connection
            raise asyncio.CancelledError
        await super()._connect_to_server(s)

    async def _read_loop(self) -> None:
        if isinstance(self._transport, TcpTransport):
            SocketProtocol.install(self._transport, self._messages, self)
        await super()._read_loop()

    def take(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        """A message from the server, in its subscription's hands at once."""
        interest = self._subs.get(sid)
        if interest is None:
            return
        assert isinstance(interest, _Interest)
        found = read_headers(headers) if headers else {}
        try:
            interest.take(Message(subject.decode(), data, found, reply.decode()))
        except Exception as error:  # noqa: BLE001  # the boundary of a subscription: the others go on
            _log.warning("bus.failed", error=repr(error))


def _command(subject: str, body: bytes, reply: str, headers: Mapping[str, str] | None) -> bytes:
    if headers:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if lines.count("\r") + lines.count("\n") != 2 * len(headers):
            raise nats.errors.BadHeaderError("a line end in a header")
        block = f"{VERSION}\r\n{lines}\r\n".encode()
        line = f"HPUB {subject} {reply} {len(block)} {len(block) + len(body)}"
        words = 4
    else:
        block = b""
        line = f"PUB {subject} {reply} {len(body)}"
        words = 3
    if len(line.split()) != words + bool(reply):
        raise nats.errors.BadSubjectError
    return b"%b\r\n%b%b\r\n" % (line.encode(), block, body)
