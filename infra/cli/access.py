"""How the data commands reach a system: by `--url` and `--token`, or by what runs in the data directory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit, urlunsplit

from cyclopts import Parameter

from infra.cli.development_token import checked_token
from infra.cli.options import DATA_DEFAULT, WORKSPACE_DEFAULT, data_directory
from shared.client import Client
from shared.errors import BadRequest, Unavailable

CONNECT_S = 10.0
"""A client would try for ever; a person at a prompt is told."""

OPERATOR = "operator"
"""Who asks for what no user may, with a token for development."""

_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_HTTP = {"ws": "http", "wss": "https"}


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Access:
    """Where the system is, and who asks."""

    url: Annotated[
        list[str] | None,
        Parameter(
            env_var="PARLEY_URL",
            negative=(),
            help="Address of an edge; repeat it to fail over between several.",
        ),
    ] = None
    token: Annotated[str | None, Parameter(env_var="PARLEY_TOKEN", help="A token, in place of --user.")] = (
        None
    )
    user: Annotated[str, Parameter(help="Act as this user, with a token for development.")] = "me"
    workspace: Annotated[str, Parameter(help="The tenant.")] = WORKSPACE_DEFAULT
    data: Annotated[
        Path, Parameter(env_var="PARLEY_DATA", help="Data directory of the system on this machine.")
    ] = DATA_DEFAULT

    def sockets(self) -> list[str]:
        """The WebSocket address of every edge."""
        return [socket_url(url) for url in self._bases()]

    def pages(self) -> str:
        """The HTTP address of the first edge."""
        return page_url(self._bases()[0])

    def bearer(self) -> str:
        """The token of `user`."""
        return self.token or self.token_for(self.user)

    def token_for(self, user: str, scopes: Sequence[str] = ()) -> str:
        """A token for development; needs the secret of the data directory."""
        return checked_token(self.data, user, self.workspace, scopes)

    def _bases(self) -> Sequence[str]:
        return self.url or data_directory(self.data).run().edges


def socket_url(url: str) -> str:
    """`http://host:8080` and the like, as the address of the WebSocket."""
    parts = _split(url)
    path = parts.path if parts.path not in {"", "/"} else "/v1/ws"
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))


def page_url(url: str) -> str:
    """The same host for HTTP, without a path."""
    parts = _split(url)
    return urlunsplit((_HTTP.get(parts.scheme, parts.scheme), parts.netloc, "", "", ""))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        known = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0
    except ValueError as error:
        raise BadRequest(f"--url {url}: {error}") from error
    if not known:
        raise BadRequest(f"--url {url}: an address of an edge looks like http://127.0.0.1:8080")
    return parts


@contextlib.asynccontextmanager
async def opened(client: Client, access: Access) -> AsyncIterator[Client]:
    """The client with a session; raises `Unavailable` if it gets none within `CONNECT_S`."""
    try:
        async with asyncio.timeout(CONNECT_S):
            await client.__aenter__()
    except TimeoutError as error:
        where = ", ".join(access.sockets())
        raise Unavailable(f"no session with {where} within {CONNECT_S:g} s: does it run there?") from error
    try:
        yield client
    finally:
        await client.close()


ACCESS_DEFAULT = Access()
