"""What is cheaper than nats-py's does the same, and the pinned version still asks for it."""

from __future__ import annotations

import asyncio
import inspect
import re

import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.protocol.parser import Parser

from shared.bus import Bus, Message
from shared.errors import Unavailable
from shared.nats_client import _Interest
from shared.settings import CommonSettings
from tests.support.nats import NatsServer
from tests.support.waiting import eventually


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
    reading = inspect.getsource(Client._read_loop)
    assert (
        "b = await self._transport.read(DEFAULT_BUFFER_SIZE)\n                await self._ps.parse(b)"
        in reading
    )
    assert "await self._io_reader.read(buffer_size)" in inspect.getsource(TcpTransport.read)
    assert "create_task(self._read_loop())" in inspect.getsource(Client._process_connect_init)
    assert {"buf", "nc"} <= set(vars(Parser()))
    assert vars(asyncio.StreamReader(loop=asyncio.new_event_loop()))["_buffer"] == b""
    assert "self._transport.writelines(self._pending[:])" in inspect.getsource(Client._flusher)
    assert "self._io_writer.write(" in inspect.getsource(TcpTransport.write)
    assert {"_pending", "_pending_data_size", "_ps", "_sid", "_subs", "_max_payload", "_transport"} <= set(
        vars(Client())
    )
    assert "self._pongs.append(future)\n        self._transport.write(PING_PROTO)" in inspect.getsource(
        Client._send_ping
    )
    assert "await self._connect_to_server(s)" in inspect.getsource(Client._select_next_server)
    again = inspect.getsource(Client._attempt_reconnect)
    assert "prot_command.sub_cmd(sub._subject, sub._queue, sid)" in again
    read = "".join(inspect.getsource(part) for part in (Client._attempt_reconnect, Client._close))
    assert set(re.findall(r"\bsub\.(\w+)", read)) <= set(dir(_Interest))


async def test_who_is_closed_looks_for_no_server(fresh_bus: Bus, fresh_nats_server: NatsServer) -> None:
    """Even if the search was not told: a cancellation may be lost in it, and then it went on for ever."""
    client = fresh_bus._client
    fresh_nats_server.kill()
    await eventually(lambda: client._reconnection_task is not None)
    client._status = Client.CLOSED
    async with asyncio.timeout(60):
        await asyncio.wait([client._reconnection_task])
    client._status = Client.RECONNECTING


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


async def test_what_was_flushed_the_server_knows(fresh_bus: Bus, fresh_settings: CommonSettings) -> None:
    """Whoever asks afterwards is answered, however many subscriptions there are, on whatever connection."""

    async def echo(body: bytes) -> bytes:
        return body

    async with Bus.connect(fresh_settings, "other") as other:
        for number in range(5_000):
            await fresh_bus.serve(f"flushed.{number}", echo)
        await fresh_bus.flush()
        assert await other.request("flushed.4999", b"x", timeout_s=10) == b"x"


async def test_a_flush_that_is_given_up_harms_nobody(bus: Bus) -> None:
    """The server answers it all the same: nothing that is read afterwards may be lost by that."""
    heard: asyncio.Queue[Message] = asyncio.Queue()
    await bus.subscribe("given.up", heard.put_nowait)
    for _ in range(3):
        flushing = asyncio.create_task(bus.flush())
        await asyncio.sleep(0)  # it has begun
        flushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flushing
        await bus.publish("given.up", b"")
        async with asyncio.timeout(30):
            await heard.get()
    await bus.flush()


async def test_nothing_is_flushed_without_a_server(fresh_bus: Bus, fresh_nats_server: NatsServer) -> None:
    """Whoever waits for it hears that it is away."""
    fresh_nats_server.kill()
    await eventually(lambda: not fresh_bus.connected)
    with pytest.raises(Unavailable):
        await fresh_bus.flush()


async def test_subscribing_takes_no_task(bus: Bus) -> None:
    """Thousands of sessions that come back at once subscribe once each."""
    before = len(asyncio.all_tasks())
    subscriptions = [await bus.subscribe(f"no.task.{number}", print) for number in range(20)]
    assert len(asyncio.all_tasks()) == before
    for subscription in subscriptions:
        await subscription.unsubscribe()
