"""What a request for an upgrade has to say (RFC 6455, 4.2.1), and what it is answered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.http11 import Request
from websockets.server import ServerProtocol

from edge.core import handshake
from shared.errors import BadRequest, HeadTooLarge, NotFound, ParleyError, UpgradeRequired

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
GOOD = [
    (b"host", b"chat.example"),
    (b"upgrade", b"websocket"),
    (b"connection", b"keep-alive, Upgrade"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-key", KEY),
]


def without(name: bytes) -> list[tuple[bytes, bytes]]:
    return [header for header in GOOD if header[0] != name]


def judged(
    headers: list[tuple[bytes, bytes]], *, method: bytes = b"GET", target: bytes = b"/v1/ws"
) -> handshake.Upgrade:
    return handshake.judge(method, target, "1.1", headers)


def test_a_good_request() -> None:
    """What the edge needs to know is taken out of it."""
    more = [(b"origin", b"https://chat.example"), (b"authorization", b"Bearer t")]
    upgrade = judged([*GOOD, *more], target=b"/v1/ws?x=1")
    assert upgrade == handshake.Upgrade(KEY, "chat.example", "https://chat.example", "Bearer t")
    assert judged(GOOD).origin is None


def test_the_answer_of_the_rfc() -> None:
    """The example of RFC 6455, 1.3."""
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in handshake.accepted(KEY)


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        (without(b"host"), BadRequest),
        (without(b"upgrade"), UpgradeRequired),
        (without(b"connection"), UpgradeRequired),
        (without(b"sec-websocket-version"), UpgradeRequired),
        (without(b"sec-websocket-key"), BadRequest),
        ([*without(b"sec-websocket-version"), (b"sec-websocket-version", b"8")], UpgradeRequired),
        ([*without(b"sec-websocket-key"), (b"sec-websocket-key", b"c2hvcnQ=")], BadRequest),
        ([*without(b"sec-websocket-key"), (b"sec-websocket-key", b"\xff" * 24)], BadRequest),
        ([*GOOD, (b"sec-websocket-key", KEY)], BadRequest),
        ([*GOOD, (b"host", b"other.example")], BadRequest),
        ([*GOOD, (b"origin", b"https://a"), (b"origin", b"https://b")], BadRequest),
        ([*GOOD, (b"content-length", b"3")], BadRequest),
        ([*GOOD, (b"transfer-encoding", b"chunked")], BadRequest),
        ([*GOOD, (b"x", b"y" * handshake.HEAD_BYTES_MAX)], HeadTooLarge),
    ],
)
def test_what_is_refused(headers: list[tuple[bytes, bytes]], error: type[ParleyError]) -> None:
    """Each rule has its refusal; what could be read in two ways is refused as well."""
    with pytest.raises(error):
        judged(headers)


def test_only_here_and_only_by_get() -> None:
    """Another address is not found, another method or version of HTTP is wrong."""
    with pytest.raises(NotFound):
        judged(GOOD, target=b"/v1/wsx")
    with pytest.raises(BadRequest):
        judged(GOOD, method=b"POST")
    with pytest.raises(BadRequest):
        handshake.judge(b"GET", b"/v1/ws", "1.0", GOOD)


@given(
    st.binary(max_size=20),
    st.binary(max_size=40),
    st.text(max_size=4),
    st.lists(st.tuples(st.sampled_from([name for name, _ in GOOD] + [b"origin", b"x"]), st.binary())),
)
def test_any_bytes_have_a_verdict(
    method: bytes, target: bytes, version: str, headers: list[tuple[bytes, bytes]]
) -> None:
    """Whatever stands in a request, it is granted or refused as one of the tree of errors."""
    try:
        handshake.judge(method, b"/v1/ws" + target, version, headers)
    except ParleyError as error:
        assert error.http_status < 500


@given(st.lists(st.sampled_from([*GOOD, (b"connection", b"close"), (b"upgrade", b"h2c")]), max_size=8))
def test_what_is_granted_is_granted_by_another_library(headers: list[tuple[bytes, bytes]]) -> None:
    """`websockets` accepts every request that is accepted here, with the same proof."""
    try:
        upgrade = judged(headers)
    except ParleyError:
        return
    server = ServerProtocol()
    server.receive_data(b"GET /v1/ws HTTP/1.1\r\n" + b"".join(b"%b: %b\r\n" % h for h in headers) + b"\r\n")
    (request,) = server.events_received()
    assert isinstance(request, Request)
    response = server.accept(request)
    assert response.status_code == 101
    assert response.headers["Sec-WebSocket-Accept"].encode() in handshake.accepted(upgrade.key)
