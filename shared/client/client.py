"""The client: an asyncio chat client that survives the network.

    async with Client("ws://127.0.0.1:8080/v1/ws", token) as client:
        ack = await client.send("general", "hello")
        async for update in client.events():
            ...

Commands wait in a bounded outbox until they are acked; connections come and go behind it. Events are
passed on in order, each once; a consumer that is slower than its channels loses nothing (see `session`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Self

import orjson

from shared.client import outbox as _outbox
from shared.client import wire
from shared.client.commands import Commands, Origin
from shared.client.connection import Connection, RenewToken, draw
from shared.client.errors import ClientClosed
from shared.client.exchange import Exchange
from shared.client.outbox import Outbox
from shared.client.session import Session, Start
from shared.client.updates import Ack, ChannelEvent, Gap, Reset, Update
from shared.errors import ParleyError, TooLarge
from shared.ids import ChannelId, CommandId, Cursor, Seq, new_command_id

UPDATES_MAX = 4096
"""Events that wait for `events()`; what does not fit is asked for again later."""


class Client(Commands):
    """One user's client. Use it as an async context manager: entering waits for the first session.

    * `url`: one address of the WebSocket, or several; one that fails is left for any of the others.
    * `renew_token`: asked for a new token before the old one expires, and once after it was refused.
    * `on_update`: takes every update at once, in place of `events()`; it must not block.
    * `start`: new channels are followed from their `head`, from their `beginning`, or from where a function
      of the head says.
    * `cursors`: where an earlier client left off (`Client.cursors`).
    * `window`: unanswered commands of one channel at a time; 1 keeps their order under every refusal.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        token: str,
        *,
        renew_token: RenewToken | None = None,
        on_update: Callable[[Update], None] | None = None,
        start: Start = "head",
        cursors: Mapping[ChannelId, Cursor] | None = None,
        window: int = _outbox.WINDOW,
        in_flight_max: int = _outbox.IN_FLIGHT_MAX,
        outbox_max: int = _outbox.ENTRIES_MAX,
        updates_max: int = UPDATES_MAX,
        name: str = "parley-python",
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        session = Session(start=start, cursors=cursors)
        outbox = Outbox(window=window, in_flight_max=in_flight_max, entries_max=outbox_max, draw=draw)
        self._exchange = Exchange(session, outbox, name=name)
        self._connection = Connection(
            self._exchange,
            [url] if isinstance(url, str) else list(url),
            token,
            renew_token=renew_token,
            on_progress=self._progress,
            ssl_context=ssl_context,
        )
        self._on_update = on_update
        self._updates_max = updates_max
        self._updates: deque[Update] = deque(maxlen=2 * updates_max)
        self._consumed = on_update is not None
        if not self._consumed:
            session.room = 0
        self._news = asyncio.Event()
        self._moved = asyncio.Event()
        self._waiting: dict[str, asyncio.Future[Ack]] = {}
        self._task: asyncio.Task[None] | None = None
        self._ended: Exception | None = None

    # ------------------------------------------------------------ life

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="parley-client")
        try:
            await self._until(lambda: self._exchange.open)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the session; commands without an answer raise `ClientClosed`."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def drained(self) -> None:
        """Wait until every command is answered."""
        await self._until(lambda: not self._exchange.outbox)

    # ------------------------------------------------------------ what is known

    @property
    def connected(self) -> bool:
        """Whether a session is open right now."""
        return self._exchange.open

    @property
    def in_flight_max(self) -> int:
        """Commands that the server lets this session have unanswered at a time."""
        return self._exchange.outbox.in_flight_max

    @property
    def channels(self) -> Mapping[ChannelId, wire.ChannelInfo]:
        """The user's channels, as the server last described them."""
        return self._exchange.channels

    @property
    def cursors(self) -> dict[ChannelId, Cursor]:
        """The last event of each channel that was passed on: where a later client may go on."""
        return self._exchange.session.cursors()

    # ------------------------------------------------------------ events

    async def events(self) -> AsyncIterator[Update]:
        """Every update from now on, and the events since the client was opened. One consumer at a time."""
        assert self._on_update is None, "updates go to on_update"
        self._consumed = True
        self._refill()
        while True:
            while self._updates:
                yield self._updates.popleft()
                if self._exchange.session.room <= 0:
                    self._refill()
            if self._ended is not None:
                raise self._ended
            self._news.clear()
            self._refill()
            await self._news.wait()

    def follow_from(self, channel: str, after: int) -> None:
        """Have the events of a channel above `after` sent again, or for the first time."""
        self._exchange.session.follow_from(ChannelId(channel), Seq(after))
        self._progress()
        self._connection.wake()

    # ------------------------------------------------------------ commands

    async def command(
        self,
        kind: str,
        channel: str | None,
        /,
        *,
        id: CommandId | None = None,  # noqa: A002
        origin: Origin | None = None,
        **fields: object,
    ) -> Ack:
        """Give any command; waits for room in the outbox, then for the ack."""
        await self._until(lambda: not self._exchange.outbox.full)
        return await self.post(kind, channel, id=id, origin=origin, **fields)

    def post(
        self,
        kind: str,
        channel: str | None,
        /,
        *,
        id: CommandId | None = None,  # noqa: A002
        origin: Origin | None = None,
        **fields: object,
    ) -> asyncio.Future[Ack]:
        """Give a command without waiting (pipelining); raises `OutboxFull`. The future has its answer."""
        if self._ended is not None:
            raise self._ended
        command = id or new_command_id(self._server_ms())
        frame: dict[str, object] = {"type": kind, "id": command}
        if channel is not None:
            frame["channel"] = channel
        if origin is not None:
            frame["imported"] = {"author": origin.author, "at": origin.at}
        if None in fields.values():
            fields = {name: value for name, value in fields.items() if value is not None}
        frame |= fields
        body = orjson.dumps(frame)
        self._check_size(body)
        self._exchange.outbox.add(channel or "", command, body)
        future = self._waiting.get(command)
        if future is None:
            future = self._waiting[command] = asyncio.get_running_loop().create_future()
        self._connection.wake()
        return future

    async def typing(self, channel: str) -> None:
        """Say that the user types; worth nothing later, so it is not kept."""
        self._exchange.post({"type": "typing", "channel": channel})
        self._connection.wake()

    async def read(self, channel: str, seq: int) -> None:
        """Say that the user has read up to `seq`; repeated until the server has heard it."""
        self._exchange.mark_read(ChannelId(channel), Seq(seq))
        self._connection.wake()

    # ------------------------------------------------------------ inside

    async def _run(self) -> None:
        try:
            await self._connection.run()
        except Exception as error:  # noqa: BLE001  # the task's boundary: callers hear of it
            self._end(error)
        finally:
            self._exchange.open = False
            self._end(ClientClosed("the client was closed"))

    def _end(self, error: Exception) -> None:
        self._ended = self._ended or error
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self._ended)
                future.exception()  # nobody has to look at it
        self._waiting.clear()
        self._news.set()
        self._moved.set()

    def _progress(self) -> None:
        """Hand out what the exchange has decided."""
        updates = self._exchange.session.updates
        if updates:
            self._exchange.session.updates = []
            if self._on_update is not None:
                for update in updates:
                    self._on_update(update)
            else:
                self._keep(updates)
        answers = self._exchange.answers
        if answers:
            self._exchange.answers = []
            for command, answer in answers:
                self._resolve(command, answer)
        self._moved.set()

    def _resolve(self, command: str, answer: Ack | ParleyError) -> None:
        future = self._waiting.pop(command, None)
        if future is None or future.done():
            return
        if isinstance(answer, Ack):
            future.set_result(answer)
        else:
            future.set_exception(answer)

    def _keep(self, updates: Sequence[Update]) -> None:
        """Queue for `events()`. Without room only what must not be missed is kept (events cost room)."""
        for update in updates:
            if isinstance(update, ChannelEvent | Gap | Reset) or len(self._updates) < self._updates_max:
                self._updates.append(update)
        self._news.set()

    def _refill(self) -> None:
        room = self._updates_max - len(self._updates)
        if self._consumed and room >= self._updates_max // 2:
            self._exchange.session.refill(room)
            self._connection.wake()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._ended is not None:
                raise self._ended
            self._moved.clear()
            await self._moved.wait()

    def _server_ms(self) -> int:
        server_ms = self._exchange.server_ms(time.monotonic())
        assert server_ms is not None, "enter the client before you give commands"
        return server_ms

    def _check_size(self, body: bytes) -> None:
        limits = self._exchange.limits
        if limits is not None and len(body) > limits["frame_bytes"]:
            raise TooLarge(
                f"the frame has {len(body)} bytes; {limits['frame_bytes']} are allowed", limit="frame_bytes"
            )
