"""The connection: dials, says hello, moves frames, watches for silence, and dials again. No rules in here.

What a frame means is decided in `exchange`, what a close means in `policy`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidStatus

from shared.client.addresses import Addresses
from shared.client.exchange import Exchange
from shared.client.policy import Reconnect, Renew
from shared.client.socket import Socket
from shared.client.updates import Offline
from shared.clock import parse_rfc3339

OPEN_TIMEOUT_S = 10.0
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
SILENT_HEARTBEATS_MAX = 1.5
REFRESH_BEFORE_S = 30.0
NO_CODE = 1006

RenewToken = Callable[[], Awaitable[str]]


def draw(ceiling: float) -> float:
    """A random number between 0 and `ceiling`: who was sent away with others must not return with them."""
    return random.uniform(0, ceiling)


class _NotUnderstood(Exception):
    """The server sent what is no frame of the protocol."""


class Connection:
    """Keeps a session open until it is cancelled, or ended for good (`SessionEnded`)."""

    def __init__(
        self,
        exchange: Exchange,
        urls: Sequence[str],
        token: str,
        *,
        renew_token: RenewToken | None,
        on_progress: Callable[[], None],
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._exchange = exchange
        self._addresses = Addresses(urls, random.randrange)
        self._token = token
        self._renew_token = renew_token
        self._on_progress = on_progress
        self._ssl = ssl_context
        self._policy = Reconnect(draw, renewable=bool(renew_token))
        self._socket: Socket | None = None
        self._waking = False
        self._timer: asyncio.TimerHandle | None = None
        self._heard_s = 0.0
        self._opened_s: float | None = None

    def wake(self) -> None:
        """There is something to send: it goes out with all that comes up in this turn of the loop."""
        if self._socket is not None and not self._waking:
            self._waking = True
            self._socket.loop.call_soon(self._write)

    async def run(self) -> None:
        """Connect, serve, and connect again."""
        while True:
            url = self._addresses.following(held=self._opened_s is not None)
            self._opened_s = None
            code, reason, retry_after_s = await self._attempt(url)
            held_s = 0.0 if self._opened_s is None else time.monotonic() - self._opened_s
            bye = self._exchange.bye
            if bye is not None:
                code, reason = bye["code"], bye["reason"]
                retry_after_s = (bye.get("retry_after_ms") or 0) / 1000
            self._exchange.lost()
            verdict = self._policy.ended(code, reason, retry_after_s=retry_after_s, held_s=held_s)
            wait_s = 0.0 if isinstance(verdict, Renew) else verdict.wait_s
            self._exchange.session.updates.append(Offline(code, reason, wait_s))
            self._on_progress()
            if isinstance(verdict, Renew):
                assert self._renew_token is not None
                self._token = await self._renew_token()
            await asyncio.sleep(wait_s)

    async def _attempt(self, url: str) -> tuple[int, str, float | None]:
        """One connection from dial to end: the close code or HTTP status, the reason, the server's advice."""
        self._exchange.bye = None
        try:
            async with connect(
                url,
                ssl=self._ssl,
                compression=None,
                ping_interval=None,
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=2.0,
                max_size=MESSAGE_BYTES_MAX,
                create_connection=partial(Socket, receive=self._receive, on_flowing=self.wake),  # type: ignore[arg-type]
            ) as socket:
                assert isinstance(socket, Socket)
                return await self._serve(socket)
        except InvalidStatus as error:
            response = error.response
            return response.status_code, response.reason_phrase, _seconds(response.headers.get("Retry-After"))
        except (OSError, TimeoutError, InvalidHandshake, InvalidMessage) as error:
            return NO_CODE, f"{type(error).__name__}: {error}", None

    async def _serve(self, socket: Socket) -> tuple[int, str, float | None]:
        self._heard_s = time.monotonic()
        self._socket = socket
        try:
            socket.write([self._exchange.hello(self._token)])
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch(socket))
                with contextlib.suppress(_NotUnderstood):
                    await socket.ended
                watch.cancel()
        except asyncio.CancelledError:
            await socket.close()  # 1000: the client was closed, nothing went wrong
            raise
        finally:
            self._socket = None
            self._write_later(None)
        await socket.close(1002, "frame not understood")  # unless it is closing already
        return socket.close_code or NO_CODE, socket.close_reason or "connection lost", None

    def _receive(self, messages: list[bytes]) -> None:
        """The messages of one read."""
        exchange = self._exchange
        self._heard_s = now_s = time.monotonic()
        try:
            for message in messages:
                exchange.receive(message, now_s)
        except (ValueError, KeyError, TypeError) as error:
            raise _NotUnderstood from error
        finally:
            if self._opened_s is None and exchange.open:
                self._opened_s = now_s
            self._on_progress()
        if exchange.due:
            self.wake()

    def _write(self) -> None:
        """Send what may be sent now; what the transport has no room for waits until it has."""
        self._waking = False
        socket = self._socket
        if socket is None or not socket.is_flowing:
            return
        bodies = self._exchange.outgoing(time.monotonic())
        if bodies:
            socket.write(bodies)
        self._write_later(self._exchange.next_at_s())

    def _write_later(self, at_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at_s is not None and self._socket is not None:
            self._timer = self._socket.loop.call_later(max(0.0, at_s - time.monotonic()), self.wake)

    async def _watch(self, socket: Socket) -> None:
        """Cut the connection after 1.5 silent heartbeats (P8); refresh the token before it expires (P9)."""
        refreshed = ""
        while True:
            limit_s = SILENT_HEARTBEATS_MAX * self._exchange.heartbeat_s
            left_s = self._heard_s + limit_s - time.monotonic()
            if left_s <= 0:
                socket.transport.abort()
                return
            expires_at = self._exchange.expires_at
            if (
                self._renew_token
                and expires_at
                and expires_at != refreshed
                and self._expires_soon(expires_at)
            ):
                refreshed = expires_at
                self._token = await self._renew_token()
                self._exchange.post({"type": "refresh", "token": self._token})
                self.wake()
            await asyncio.sleep(min(left_s, 5.0))

    def _expires_soon(self, expires_at: str) -> bool:
        now_ms = self._exchange.server_ms(time.monotonic())
        assert now_ms is not None, "a token's end is named in the welcome, and so is the time"
        return parse_rfc3339(expires_at) / 1000 - now_ms < REFRESH_BEFORE_S * 1000


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after and retry_after.isdecimal() else None
