"""Users' SQL: an archiver runs it, and we fetch the result piece by piece as fast as the client reads."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from edge.core.principal import Principal
from shared.bus import Bus
from shared.errors import Unavailable
from shared.failures import error_of, reply_of
from shared.sql_records import (
    SQL_END,
    SQL_PIECE,
    SQL_WAIT,
    SqlClose,
    SqlFormat,
    SqlNext,
    SqlOpened,
    SqlRequest,
)
from shared.subjects import archive_subject

OPEN_TIMEOUT_S = 15.0
NEXT_TIMEOUT_S = 5.0
TRIES = 3


class Sql:
    """The archivers that run SQL, behind NATS."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def open(self, caller: Principal, query: str, form: SqlFormat) -> SqlOpened:
        """Begin a query as the caller. Raises what refuses it."""
        request = SqlRequest(workspace=caller.workspace, user=caller.user, query=query, format=form)
        body = request.model_dump_json().encode()
        answer = await self._bus.request(archive_subject("sql", "open"), body, timeout_s=OPEN_TIMEOUT_S)
        return reply_of(answer, SqlOpened)

    async def pieces(self, opened: SqlOpened) -> AsyncIterator[bytes]:
        """The result; whoever stops iterating must call `close`. Raises what ends it too early."""
        number = 0
        while True:
            answer = await self._next(opened, number)
            if answer.startswith(SQL_PIECE):
                number += 1
                yield answer[len(SQL_PIECE) :]
            elif answer == SQL_END:
                return
            elif answer != SQL_WAIT:
                raise error_of(answer)

    async def close(self, opened: SqlOpened) -> None:
        """Nobody wants the rest; an archiver that does not hear it finds out by the silence."""
        body = SqlClose(query=opened.query).model_dump_json().encode()
        with contextlib.suppress(Unavailable):
            await self._bus.publish(archive_subject(opened.at, "close"), body)

    async def _next(self, opened: SqlOpened, number: int) -> bytes:
        """Asked again if no answer comes: the archiver keeps it until the next one is asked for."""
        body = SqlNext(query=opened.query, piece=number).model_dump_json().encode()
        for _ in range(TRIES - 1):
            with contextlib.suppress(Unavailable):
                return await self._bus.request(
                    archive_subject(opened.at, "next"), body, timeout_s=NEXT_TIMEOUT_S
                )
        return await self._bus.request(archive_subject(opened.at, "next"), body, timeout_s=NEXT_TIMEOUT_S)
