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

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus

from shared.client.exchange import Exchange
from shared.client.policy import Reconnect, Renew
from shared.client.updates import Offline
from shared.clock import parse_rfc3339

OPEN_TIMEOUT_S = 10.0
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
QUEUE_FRAMES = 1024
"""Frames that websockets buffers before it stops reading from the socket."""

SILENT_HEARTBEATS_MAX = 1.5
REFRESH_BEFORE_S = 30.0
NO_CODE = 1006

RenewToken = Callable[[], Awaitable[str]]


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
        self._urls = urls
        self._turn = random.randrange(len(urls))
        self._token = token
        self._renew_token = renew_token
        self._on_progress = on_progress
        self._ssl = ssl_context
        self._policy = Reconnect(lambda ceiling: random.uniform(0, ceiling), renewable=bool(renew_token))
        self._wake = asyncio.Event()
        self._heard_s = 0.0
        self._opened_s: float | None = None

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    async def run(self) -> None:
        """Connect, serve, and connect again."""
        while True:
            self._opened_s = None
            code, reason, retry_after_s = await self._attempt()
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
            self._turn += 1
            await asyncio.sleep(wait_s)

    async def _attempt(self) -> tuple[int, str, float | None]:
        """One connection from dial to end: the close code or HTTP status, the reason, the server's advice."""
        url = self._urls[self._turn % len(self._urls)]
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
                max_queue=(QUEUE_FRAMES, QUEUE_FRAMES // 4),
            ) as socket:
                return await self._serve(socket)
        except InvalidStatus as error:
            response = error.response
            return response.status_code, response.reason_phrase, _seconds(response.headers.get("Retry-After"))
        except (OSError, TimeoutError, InvalidHandshake, InvalidMessage) as error:
            return NO_CODE, f"{type(error).__name__}: {error}", None

    async def _serve(self, socket: ClientConnection) -> tuple[int, str, float | None]:
        self._heard_s = time.monotonic()
        tasks: list[asyncio.Task[None]] = []
        try:
            await socket.send(self._exchange.hello(self._token), text=True)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._write(socket)), group.create_task(self._watch(socket))]
                await self._read(socket)
                for task in tasks:
                    task.cancel()
        except* ConnectionClosed:
            pass
        return socket.close_code or NO_CODE, socket.close_reason or "connection lost", None

    async def _read(self, socket: ClientConnection) -> None:
        exchange = self._exchange
        with contextlib.suppress(ConnectionClosed):
            while True:
                raw = await socket.recv(decode=False)
                self._heard_s = time.monotonic()
                try:
                    exchange.receive(raw, self._heard_s)
                except (ValueError, KeyError, TypeError):
                    await socket.close(1002, "frame not understood")
                    return
                if self._opened_s is None and exchange.open:
                    self._opened_s = self._heard_s
                self._on_progress()
                if exchange.due:
                    self._wake.set()

    async def _write(self, socket: ClientConnection) -> None:
        while True:
            self._wake.clear()
            for body in self._exchange.outgoing(time.monotonic()):
                await socket.send(body, text=True)
            at_s = self._exchange.next_at_s()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if at_s is None else max(0.0, at_s - time.monotonic())):
                    await self._wake.wait()

    async def _watch(self, socket: ClientConnection) -> None:
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
                self._wake.set()
            await asyncio.sleep(min(left_s, 5.0))

    def _expires_soon(self, expires_at: str) -> bool:
        now_ms = self._exchange.server_ms(time.monotonic())
        assert now_ms is not None, "a token's end is named in the welcome, and so is the time"
        return parse_rfc3339(expires_at) / 1000 - now_ms < REFRESH_BEFORE_S * 1000


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after and retry_after.isdecimal() else None
