"""Readers beside a writer on one server, each asked by itself: `one.0.history`, not `archive.0.history`."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import apsw
from pydantic import BaseModel

from archiver.settings import ArchiverSettings
from shared.bus import Bus, Message, Subscription
from shared.errors import Unavailable
from shared.ids import ChannelKey, StreamSeq
from shared.message_records import MessagesPage, MessagesRequest
from shared.records import Failure
from shared.settings import CommonSettings
from shared.subjects import partition_of
from tests.support.archive import Running, archiver_settings, running

Reply = TypeVar("Reply", bound=BaseModel)
EVERYBODY = "archive"
SAME_TABLES = (
    "SELECT workspace, channel, seq, stream_seq, state, greatest, kind FROM channels",
    "SELECT channels.channel, author, id, ids.seq, ids.stream_seq, at_us, fingerprint, void FROM ids"
    " JOIN channels ON no = ids.channel",
    "SELECT user, channels.channel FROM members JOIN channels ON no = members.channel",
    "SELECT erasures.stream_seq, channels.channel, before, ref, user, since, below FROM erasures"
    " JOIN channels ON no = erasures.channel",
    "SELECT stream_seq FROM position",
)
"""What two caches at one position have in common; numbers of channels and ranges are each one's own."""


class Nothing(BaseModel):
    """A question without a body."""


class Aside(Bus):
    """Serves what is asked of archivers under a name of its own."""

    name = "aside"

    async def subscribe(
        self, subject: str, callback: Callable[[Message], None], *, queue: str = ""
    ) -> Subscription:
        """As the bus does."""
        if subject.startswith("archive."):
            subject = subject.replace("archive", self.name, 1)
        return await super().subscribe(subject, callback, queue=queue)


def reader_settings(
    settings: CommonSettings, archive: Path | str, cache: Path, **fields: object
) -> ArchiverSettings:
    """Those of a reader that looks often."""
    fields = {"reader_poll_s": 0.05, **fields}
    return archiver_settings(settings, archive, archiver_reader=True, archive_cache=str(cache), **fields)


@contextlib.asynccontextmanager
async def reading(name: str, settings: ArchiverSettings) -> AsyncIterator[Running]:
    """A reader that only this name asks."""
    async with Aside.connect(settings, name) as bus:
        bus.name = name
        async with running(bus, settings) as one:
            yield one


async def ask(
    bus: Bus, at: str, partition: int, operation: str, request: BaseModel, reply: type[Reply]
) -> Reply | Failure:
    """What an archiver answers; nobody's answer is a failure, too."""
    body = request.model_dump_json().encode()
    try:
        raw = await bus.request(f"{at}.{partition}.{operation}", body, timeout_s=30)
    except Unavailable as error:
        return Failure(error="unavailable", message=error.message)
    return Failure.model_validate_json(raw) if b'"error"' in raw[:20] else reply.model_validate_json(raw)


async def messages(
    bus: Bus, at: str, key: ChannelKey, applied: int = 0, limit: int = 200
) -> MessagesPage | Failure:
    """The newest messages of a channel."""
    request = MessagesRequest(
        workspace=key.workspace, channel=key.channel, limit=limit, applied=StreamSeq(applied)
    )
    return await ask(bus, at, partition_of(key, 2), "messages", request, MessagesPage)


_DOCS = "SELECT stream_seq, seq, iif(flags & 1, 0, text_seq), flags FROM docs ORDER BY 1"
"""Which event took the text of a message is said of what is left only."""


def tables(cache_dir: Path, partition: int = 0) -> list[list[tuple[object, ...]]]:
    """What two caches must have in common."""
    with contextlib.closing(sqlite3.connect(cache_dir / f"p{partition:02d}.sqlite")) as db:
        return [sorted(db.execute(query).fetchall(), key=repr) for query in SAME_TABLES]


def found_in(cache_dir: Path, partition: int) -> list[tuple[object, ...]]:
    """What a search index knows of messages, how far it is, and whether it is purged."""
    with contextlib.closing(apsw.Connection(str(cache_dir / f"p{partition:02d}.search.sqlite"))) as db:
        at = db.execute("SELECT stream_seq, erased = purged FROM position").fetchall()
        return at + db.execute(_DOCS).fetchall()
