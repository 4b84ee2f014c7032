"""The socket gives out every message whole, in order, whatever pieces the bytes come in.

A plain TCP server says the bytes, so that a test decides where a read ends and what is wrong with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from shared.client.socket import Socket
from tests.support.waiting import eventually

SIZE_MAX = 100_000


class Server:
    """Answers the handshake, says what it was given, and notes what it hears."""

    def __init__(self, pieces: Sequence[bytes], *, with_handshake: bytes = b"") -> None:
        self._pieces = pieces
        self._with_handshake = with_handshake
        self.heard: list[Frame] = []
        self.url = ""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = ServerProtocol()
        protocol.receive_data(await reader.readuntil(b"\r\n\r\n"))
        (request,) = protocol.events_received()
        assert isinstance(request, Request)
        protocol.send_response(protocol.accept(request))
        writer.write(b"".join(protocol.data_to_send()) + self._with_handshake)
        for piece in self._pieces:
            writer.write(piece)
        await writer.drain()
        while data := await reader.read(65536):
            protocol.receive_data(data)
            self.heard += [event for event in protocol.events_received() if isinstance(event, Frame)]
            if any(frame.opcode is Opcode.CLOSE for frame in self.heard):
                break
        writer.close()


@contextlib.asynccontextmanager
async def talking(server: Server, receive: Callable[[list[bytes]], None]) -> AsyncIterator[Socket]:
    """A socket at the other end of `server`."""
    listener = await asyncio.start_server(server.talk, "127.0.0.1", 0)
    async with asyncio.timeout(30), listener:
        port = listener.sockets[0].getsockname()[1]
        create = partial(Socket, receive=receive, on_flowing=lambda: None)
        async with connect(
            f"ws://127.0.0.1:{port}/",
            compression=None,
            close_timeout=2.0,
            max_size=SIZE_MAX,
            proxy=None,
            create_connection=create,  # type: ignore[arg-type]
        ) as socket:
            assert isinstance(socket, Socket)
            yield socket


def frame(data: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=False)


CLOSE = frame(b"\x03\xe8done", Opcode.CLOSE)


async def heard_by_client(pieces: Sequence[bytes], *, with_handshake: bytes = b"") -> list[bytes]:
    """Every message that a client is given from these pieces, which end with a close."""
    got: list[bytes] = []
    async with talking(Server(pieces, with_handshake=with_handshake), got.extend) as socket:
        await socket.ended
    return got


async def test_messages_of_every_size_come_whole() -> None:
    """Each of the three forms of a length is read, up to the largest message that is allowed."""
    sizes = [0, 1, 125, 126, 127, 65535, 65536, SIZE_MAX]
    messages = [b"x" * size for size in sizes]
    assert await heard_by_client([b"".join(map(frame, messages)), CLOSE]) == messages


async def test_frames_may_follow_the_handshake_at_once() -> None:
    """What comes in one read with the answer to the handshake is not lost, nor is half a frame."""
    first, second = frame(b"one"), frame(b"two" * 100)
    got = await heard_by_client([second[3:], CLOSE], with_handshake=first + second[:3])
    assert got == [b"one", b"two" * 100]


async def test_fragments_pings_and_messages_keep_their_order() -> None:
    """A fragmented message is put together, control frames between its parts are answered."""
    pieces = frame(b"1") + frame(b"2a", fin=False) + frame(b"hi", Opcode.PING)
    pieces += frame(b"2b", Opcode.CONT, fin=False) + frame(b"2c", Opcode.CONT) + frame(b"3")
    got: list[bytes] = []
    server = Server([pieces, CLOSE])
    async with talking(server, got.extend) as socket:
        await socket.ended
    assert got == [b"1", b"2a2b2c", b"3"]
    assert [(f.opcode, bytes(f.data)) for f in server.heard][:1] == [(Opcode.PONG, b"hi")]
    assert (socket.close_code, socket.close_reason) == (1000, "done")


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_pieces_do_not_matter(data: st.DataObject) -> None:
    """However the same bytes are cut up, the same messages come out."""
    messages = data.draw(st.lists(st.binary(max_size=300), max_size=8))
    whole = b"".join(
        frame(m[:1], fin=False) + frame(m[1:], Opcode.CONT) if len(m) % 5 == 1 else frame(m) for m in messages
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    got: list[bytes] = []

    async def read_in_pieces() -> None:
        async with talking(Server([]), got.extend) as socket:
            for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
                socket.data_received(whole[start:end])

    asyncio.run(read_in_pieces())
    assert got == messages


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (frame(b"x" * (SIZE_MAX + 1)), 1009),
        (Frame(Opcode.TEXT, b"masked").serialize(mask=True), 1002),
        (b"\x83\x00", 1002),
        (b"\xc1\x01x", 1002),
        (frame(b"a", fin=False) + frame(b"b"), 1002),
    ],
    ids=[
        "too long",
        "masked",
        "no such opcode",
        "extension that was not agreed on",
        "message within another",
    ],
)
async def test_breach_of_the_protocol_ends_the_connection(wrong: bytes, code: int) -> None:
    """websockets sees what is wrong, says so to the server, and no message comes after it."""
    got: list[bytes] = []
    server = Server([frame(b"good") + wrong + frame(b"late")])
    async with talking(server, got.extend) as socket:
        await socket.ended
    assert got == [b"good"]
    assert int.from_bytes(server.heard[-1].data[:2], "big") == code


async def test_what_receive_raises_ends_the_connection() -> None:
    """The caller's task gets the exception, and `receive` is not called again."""
    calls: list[list[bytes]] = []

    def receive(messages: list[bytes]) -> None:
        calls.append(messages)
        raise ValueError("not understood")

    async with talking(Server([frame(b"1") + frame(b"p", Opcode.PING) + frame(b"2")]), receive) as socket:
        with pytest.raises(ValueError, match="not understood"):
            await socket.ended
    assert calls == [[b"1"]]


async def test_a_lost_connection_ends_it() -> None:
    """Without a close frame `ended` is done as well."""
    server = Server([frame(b"1")])
    got: list[bytes] = []
    async with talking(server, got.extend) as socket:
        socket.transport.abort()
        await socket.ended
        assert not socket.is_flowing
    assert socket.close_code == 1006


async def test_messages_written_together_arrive_one_by_one() -> None:
    """One write, as many frames as messages; bytes that are no ASCII too."""
    server = Server([])
    sent = [b"a", "ä€".encode(), b"x" * 70_000]
    async with talking(server, lambda _: None) as socket:
        socket.write(sent)
    assert [bytes(f.data) for f in server.heard if f.opcode is Opcode.TEXT] == sent


async def test_tls_with_a_given_certificate(tmp_path: Path) -> None:
    """`wss://` with the caller's trust: messages go both ways, and without that trust nothing does."""
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(*certificate(tmp_path))
    trusting = ssl.create_default_context(cafile=tmp_path / "cert.pem")
    got: list[bytes] = []
    create = partial(Socket, receive=got.extend, on_flowing=lambda: None)
    options = {"compression": None, "max_size": SIZE_MAX, "proxy": None, "create_connection": create}
    async with asyncio.timeout(30), serve(echo, "127.0.0.1", 0, ssl=server_side) as server:
        url = f"wss://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
        async with connect(url, ssl=trusting, **options) as socket:  # type: ignore[arg-type]
            assert isinstance(socket, Socket)
            socket.write([b"one", b"x" * 90_000])
            await eventually(lambda: len(got) == 2)
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(url, **options)  # type: ignore[arg-type]
    assert got == [b"one", b"x" * 90_000]


async def echo(socket: ServerConnection) -> None:
    async for message in socket:
        await socket.send(message)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "parley test")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(signed.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    return folder / "cert.pem", folder / "key.pem"
