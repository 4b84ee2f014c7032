"""The proxy between clients, edges and NATS does what it says, and no more."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos.network import Network
from tests.chaos.proxy import HOST, Proxy

DEADLINE_S = 30.0
SILENT_S = 0.3
"""Long enough to see a byte that should not come: these tests see a proxy that leaks, most of the time."""


class Echo:
    """A server that sends back what it reads, and remembers what that was."""

    def __init__(self) -> None:
        self.read = bytearray()
        self.ended = asyncio.Event()
        self.port = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Echo]:
        server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                self.read += data
                writer.write(data)
                await writer.drain()
        self.ended.set()
        writer.close()


class Caller:
    """A client of the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def of(cls, port: int) -> Caller:
        return cls(*await asyncio.open_connection(HOST, port))

    async def ask(self, text: bytes) -> bytes:
        self.writer.write(text)
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.readexactly(len(text))

    async def is_ended(self) -> bool:
        """A reset that came while the connection was being made is an end to whoever reads then."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True

    async def hears_nothing(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SILENT_S):
                return await self.reader.read(1) == b"nothing"
        return True


@pytest_asyncio.fixture
async def echo() -> AsyncIterator[Echo]:
    async with Echo().running() as running:
        yield running


@pytest_asyncio.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    one = Proxy(echo.port)
    yield one
    await one.close()


async def test_bytes_pass_in_both_directions_and_an_end_is_passed_on(proxy: Proxy, echo: Echo) -> None:
    """In good weather a proxy is not noticed: a megabyte comes back whole, and so does the end."""
    caller = await Caller.of(proxy.port)
    body = bytes(range(256)) * 4096
    assert await caller.ask(body) == body
    caller.writer.write_eof()
    async with asyncio.timeout(DEADLINE_S):
        assert await caller.reader.read() == b""
        await echo.ended.wait()


async def test_a_cut_resets_what_is_open_and_what_comes_until_calm(proxy: Proxy) -> None:
    """Both ends hear of a cut at once; afterwards connections work again."""
    caller = await Caller.of(proxy.port)
    await caller.ask(b"hello")
    proxy.cut()
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(ConnectionResetError):
            await caller.reader.read()
    assert await (await Caller.of(proxy.port)).is_ended()
    proxy.weather.calm()
    assert await (await Caller.of(proxy.port)).ask(b"again") == b"again"


@pytest.mark.parametrize(("way", "arrives"), [("up", False), ("down", True), ("both", False)])
async def test_a_half_open_connection_stays_up_and_says_nothing(
    proxy: Proxy, echo: Echo, way: str, arrives: bool
) -> None:
    """What is sent is lost in silence, calm or not, an end as well; a new connection is fine."""
    caller = await Caller.of(proxy.port)
    await caller.ask(b"before")
    proxy.do({"do": "half-open", "way": way})
    proxy.weather.calm()
    caller.writer.write(b"lost")
    assert await caller.hears_nothing()
    assert not echo.ended.is_set()
    assert bytes(echo.read) == (b"beforelost" if arrives else b"before")
    fresh = await Caller.of(proxy.port)
    assert await fresh.ask(b"fresh") == b"fresh"
    if way == "both":
        caller.writer.close()
        await caller.writer.wait_closed()
        assert await fresh.ask(b"alive") == b"alive"
        assert not echo.ended.is_set()


async def test_a_stall_loses_nothing(proxy: Proxy) -> None:
    """Nothing moves, and all of it arrives once it is calm."""
    caller = await Caller.of(proxy.port)
    await caller.ask(b"before")
    proxy.do({"do": "stall"})
    caller.writer.write(b"later")
    assert await caller.hears_nothing()
    proxy.do({"do": "calm"})
    async with asyncio.timeout(DEADLINE_S):
        assert await caller.reader.readexactly(5) == b"later"


async def test_a_delay_is_felt_and_a_trickle_is_slow(proxy: Proxy) -> None:
    """An answer takes at least half the delay twice; 1,000 bytes at 2,000 a second at least 0.4 s."""
    caller = await Caller.of(proxy.port)
    proxy.do({"do": "delay", "delay_s": 0.2})
    began_s = time.monotonic()
    await caller.ask(b"x")
    assert time.monotonic() - began_s >= 0.2
    proxy.do({"do": "calm"})
    proxy.do({"do": "trickle", "bytes_per_s": 2_000})
    began_s = time.monotonic()
    body = bytes(1_000)
    assert await caller.ask(body) == body
    assert time.monotonic() - began_s >= 0.4


async def test_nobody_behind_the_proxy_is_a_reset() -> None:
    """Where nobody listens the client is refused as by the target itself, and the proxy lives on."""
    lonely = Proxy(1)
    caller = await Caller.of(lonely.port)
    assert await caller.is_ended()
    assert not lonely.links
    await lonely.close()


async def test_a_network_is_told_by_path(echo: Echo) -> None:
    """The child process opens paths and does to each what it is told, to all of a service at once."""
    async with Network.opened() as network:
        ports = [await network.open("edge-1", f"nats-{n}", echo.port) for n in (1, 2)]
        ports.append(await network.open("clients", "edge-1", echo.port))
        assert network.of("edge-1") == ["edge-1>nats-1", "edge-1>nats-2"]
        assert network.of("clients>edge-1") == ["clients>edge-1"]
        callers = [await Caller.of(port) for port in ports]
        for caller in callers:
            assert await caller.ask(b"hello") == b"hello"
        await network.do("cut", network.of("edge-1"))
        for caller in callers[:2]:
            async with asyncio.timeout(DEADLINE_S):
                with pytest.raises(ConnectionResetError):
                    await caller.reader.read()
        assert await callers[2].ask(b"still") == b"still"
        await network.calm()
        assert await (await Caller.of(ports[0])).ask(b"again") == b"again"
