"""Questions to the archiver: pages of history, known ids, counts. Its answers cover what we say they must."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import orjson
from pydantic import BaseModel

from shared.bus import Bus, BusError
from shared.errors import OutcomeUnknown, Unavailable
from shared.events import Recorded, decode
from shared.failures import error_of, reply_of
from shared.ids import ChannelKey, CommandId, Epoch, Partition, Seq, StreamSeq, UserId
from shared.message_records import MessagesPage, MessagesRequest
from shared.records import (
    CountReply,
    CountRequest,
    HistoryEvent,
    HistoryPage,
    HistoryRequest,
    KnownId,
)
from shared.subjects import archive_subject, partition_of

ANSWER_TIMEOUT_S = 5.0

_Reply = TypeVar("_Reply", bound=BaseModel)


class Archive:
    """The archivers behind NATS, one per partition; every call raises `Unavailable` when theirs is away.

    Each question is about the log in its present epoch (`epoch_of`); an archive of another one says nothing.
    """

    def __init__(self, bus: Bus, partitions: int, epoch_of: Callable[[Partition], Epoch]) -> None:
        self._bus = bus
        self._partitions = partitions
        self._epoch_of = epoch_of

    async def history(
        self,
        key: ChannelKey,
        *,
        before: Seq | None = None,
        after: Seq | None = None,
        around: Seq | None = None,
        limit: int,
        applied: StreamSeq,
    ) -> tuple[list[Recorded], bool]:
        """Events in ascending order, and whether there are more in that direction.

        `applied` is a position that the answer covers: nothing up to it is left out.
        """
        request = HistoryRequest(
            workspace=key.workspace,
            channel=key.channel,
            before=before,
            after=after,
            around=around,
            limit=limit,
            applied=applied,
            epoch=self._epoch(key),
        )
        page = await self._ask(key, "history", request, HistoryPage)
        return [_recorded(key, event) for event in page.events], page.more

    async def messages(
        self,
        key: ChannelKey,
        *,
        before: int | None,
        after: int | None,
        around: int | None,
        limit: int,
        thread: Seq | None,
        applied: StreamSeq,
    ) -> MessagesPage:
        """Messages, or the replies in a thread, as they are at `applied` or later."""
        request = MessagesRequest(
            workspace=key.workspace,
            channel=key.channel,
            thread=thread,
            before=None if before is None else Seq(before),
            after=None if after is None else Seq(after),
            around=None if around is None else Seq(around),
            limit=limit,
            applied=applied,
            epoch=self._epoch(key),
        )
        return await self._ask(key, "messages", request, MessagesPage)

    async def ids(
        self, key: ChannelKey, ids: Sequence[tuple[UserId, CommandId]], applied: StreamSeq
    ) -> tuple[list[KnownId | None], str]:
        """Where these ids stand in the channel (None: nowhere up to `applied`), and its greatest id."""
        # An `IdsRequest` and an `IdsReply`, by hand: imports ask for every few messages, and know few ids.
        request = {
            "workspace": key.workspace,
            "channel": key.channel,
            "applied": applied,
            "ids": ids,
            "epoch": self._epoch(key),
        }
        body = await self._bus.request(
            archive_subject(partition_of(key, self._partitions), "ids"),
            orjson.dumps(request),
            timeout_s=ANSWER_TIMEOUT_S,
        )
        reply = orjson.loads(body)
        found, greatest = reply.get("found"), reply.get("greatest")
        if not isinstance(found, list) or len(found) != len(ids) or not isinstance(greatest, str):
            raise error_of(body, may_refuse=False)
        return [None if known is None else KnownId.model_validate(known) for known in found], greatest

    async def count(self, key: ChannelKey, upto: Seq, applied: StreamSeq) -> int:
        """How many messages the channel holds up to a seq, which is not beyond `applied`."""
        request = CountRequest(
            workspace=key.workspace,
            channel=key.channel,
            upto=upto,
            applied=applied,
            epoch=self._epoch(key),
        )
        return (await self._ask(key, "count", request, CountReply)).messages

    def _epoch(self, key: ChannelKey) -> Epoch:
        return self._epoch_of(partition_of(key, self._partitions))

    async def _ask(self, key: ChannelKey, operation: str, request: BaseModel, reply: type[_Reply]) -> _Reply:
        partition: Partition = partition_of(key, self._partitions)
        body = await self._bus.request(
            archive_subject(partition, operation),
            request.model_dump_json().encode(),
            timeout_s=ANSWER_TIMEOUT_S,
        )
        return reply_of(body, reply, may_refuse=False)


@contextlib.contextmanager
def recorded_already(text: str) -> Iterator[None]:
    """The event is in the log: what cannot be read now must not be taken for not recorded."""
    try:
        yield
    except (Unavailable, BusError) as error:
        raise OutcomeUnknown(f"{text}: {error.message}", retry_after_ms=1000) from error


def _recorded(key: ChannelKey, stored: HistoryEvent) -> Recorded:
    return Recorded(
        key, stored.seq, stored.stream_seq, stored.at_us, decode(stored.body.encode()), stored.void
    )
