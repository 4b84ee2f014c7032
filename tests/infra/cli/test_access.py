"""Where a command finds its system: by addresses, or by what runs in the data directory."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest

from infra.cli import access as access_module
from infra.cli.access import Access, opened, page_url, socket_url
from infra.local.credentials import load_or_create
from infra.local.lifeline import free_port
from shared.client import Client
from shared.errors import BadRequest, InvalidId, Unavailable


@pytest.mark.parametrize(
    ("given", "socket", "page"),
    [
        ("http://h:8080", "ws://h:8080/v1/ws", "http://h:8080"),
        ("http://h:8080/", "ws://h:8080/v1/ws", "http://h:8080"),
        ("https://chat.example", "wss://chat.example/v1/ws", "https://chat.example"),
        ("ws://h:1/v1/ws", "ws://h:1/v1/ws", "http://h:1"),
        ("wss://h/chat/v1/ws", "wss://h/chat/v1/ws", "https://h"),
        ("h:8080", "ws://h:8080/v1/ws", "http://h:8080"),
        ("[::1]:8080", "ws://[::1]:8080/v1/ws", "http://[::1]:8080"),
    ],
)
def test_an_address_serves_both_ways(given: str, socket: str, page: str) -> None:
    """What a person copies, from the page or from a setting, leads to the WebSocket and to HTTP."""
    assert (socket_url(given), page_url(given)) == (socket, page)


@pytest.mark.parametrize(
    "given", ["", "http://", "ftp://h", "nats://h:4222", "http://h:0", "http://h:x", "http://[", "://"]
)
def test_what_is_no_address_is_refused(given: str) -> None:
    """The option is named, whichever way it is used."""
    for use in (socket_url, page_url):
        with pytest.raises(BadRequest, match="--url"):
            use(given)


def test_tokens(tmp_path: Path) -> None:
    """A given token is used as it is; else one is made for the user, with the secret of the directory."""
    assert Access(token="x.y.z", data=tmp_path).bearer() == "x.y.z"
    secret = load_or_create(tmp_path / "credentials.json").jwt
    made = Access(user="ada", workspace="acme", data=tmp_path).bearer()
    claims = jwt.decode(made, secret, algorithms=["HS256"])
    assert (claims["sub"], claims["ws"], claims["scope"]) == ("ada", "acme", "")
    for wrong in (Access(user="", data=tmp_path), Access(workspace="a.b", data=tmp_path)):
        with pytest.raises(InvalidId):
            wrong.bearer()


async def test_a_client_without_an_edge_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names every address that was tried."""
    monkeypatch.setattr(access_module, "CONNECT_S", 0.2)
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    access = Access(url=urls, token="x.y.z")
    with pytest.raises(Unavailable) as refused:
        async with opened(Client(access.sockets(), access.bearer()), access):
            pass
    assert all(socket_url(url) in refused.value.message for url in urls)
