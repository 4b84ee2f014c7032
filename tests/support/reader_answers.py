"""All that can be asked about a channel, and what a reader answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from shared import events as e
from shared.bus import Bus
from shared.events import KnownEvent, encode
from shared.ids import ChannelKey, CommandId, Seq, StreamSeq
from shared.message_records import MessagesPage, MessagesRequest
from shared.records import (
    CountReply,
    CountRequest,
    Failure,
    HistoryPage,
    HistoryRequest,
    IdsReply,
    IdsRequest,
    ReadableReply,
    ReadableRequest,
)
from shared.search import SearchReply, SearchRequest, TextsReply, TextsRequest
from shared.subjects import partition_of
from tests.support.archive import ALICE, key_of, posted, store
from tests.support.readers import ask
from tests.support.waiting import eventually

TEA, GO = key_of("tea"), key_of("go")
P = partition_of(TEA, 2)


def files(directory: Path) -> dict[str, int]:
    """Every file of an archive, with the time of its last change."""
    found = (path for path in directory.rglob("*") if path.is_file() and "cache" not in path.parts)
    return {str(path): path.stat().st_mtime_ns for path in found}


async def say(bus: Bus, key: ChannelKey, *events: KnownEvent) -> StreamSeq:
    """Put events into a channel's log."""
    return await store(bus, key, [encode(event) for event in events])


async def answered(
    bus: Bus, at: str, partition: int, operation: str, request: BaseModel, reply: type[BaseModel]
) -> BaseModel:
    """An answer; one that did not find a file any more, or is on its way, is asked for again."""
    found: list[BaseModel] = []

    async def is_answered() -> bool:
        found.append(await ask(bus, at, partition, operation, request, reply))
        return not isinstance(found[-1], Failure)

    await eventually(is_answered, within_s=60)
    return found[-1]


def questions(
    key: ChannelKey, applied: StreamSeq, ids: Sequence[str]
) -> list[tuple[str, BaseModel, type[BaseModel]]]:
    """Everything that can be asked about a channel, as of now."""
    where, who = (
        {"workspace": key.workspace, "channel": key.channel},
        {"workspace": key.workspace, "user": ALICE},
    )
    places = tuple((key.channel, Seq(seq)) for seq in range(2, 60))
    asked = tuple((ALICE, CommandId(one)) for one in ids)
    return [
        ("history", HistoryRequest(**where, limit=500, applied=applied), HistoryPage),
        ("messages", MessagesRequest(**where, limit=200, applied=applied), MessagesPage),
        ("ids", IdsRequest(**where, applied=applied, ids=asked), IdsReply),
        ("count", CountRequest(**where, upto=Seq(3), applied=applied), CountReply),
        ("readable", ReadableRequest(**who), ReadableReply),
        ("search", SearchRequest(**who, query="answer", limit=200), SearchReply),
        ("texts", TextsRequest(**who, query="answer", places=places), TextsReply),
    ]


async def everything(
    bus: Bus, at: str, key: ChannelKey, applied: StreamSeq, ids: Sequence[str]
) -> dict[str, BaseModel]:
    """What an archiver says to each of these questions, asked once."""
    partition = partition_of(key, 2)
    return {
        question[0]: await ask(bus, at, partition, *question) for question in questions(key, applied, ids)
    }


async def answers(bus: Bus, at: str, key: ChannelKey, applied: StreamSeq, ids: Sequence[str]) -> list[object]:
    """The same, each asked until there is an answer."""
    partition = partition_of(key, 2)
    return [await answered(bus, at, partition, *question) for question in questions(key, applied, ids)]


def honest(log: Sequence[KnownEvent]) -> list[KnownEvent]:
    """Without edits of others' messages, which no edge makes: a search index does not look whose they are."""
    authors = {seq: event.author for seq, event in enumerate(log, 1) if isinstance(event, e.MessagePosted)}
    return [
        posted("instead") if isinstance(it, e.MessageEdited) and authors.get(it.ref) != it.author else it
        for it in log
    ]
