"""Gives the orders of an import to a server, channel by channel, and counts what came of them."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.slack.convert import convert
from infra.slack.export import Export
from infra.slack.orders import Conversion, Order
from infra.slack.tally import Tally
from shared.client import Ack, Client, ClientClosed, SessionEnded
from shared.clock import now_us
from shared.errors import Conflict, ParleyError
from shared.ids import UserId, direct_channel_id, private_channel_id

PIPELINE = 64
"""Unanswered orders of a channel; one that needs the number of another waits for that one."""

SHOWN_EVERY = 256

Progress = Callable[[str, int, int], None]
"""Told a channel's name, how many of its orders are given, and how many it has."""


@dataclass(slots=True)
class Imported:
    """What an import did."""

    channels: int = 0
    new: Counter[str] = field(default_factory=Counter)
    duplicate: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)

    def count(self, order: Order, ack: Ack) -> None:
        """Count an answer."""
        (self.duplicate if ack.duplicate else self.new)[order.kind] += 1
        self.tally.recorded += order.counts

    def find(self, order: Order) -> None:
        """Count a message that an earlier export has brought, with what it said then."""
        self.duplicate[order.kind] += 1
        self.tally.recorded += order.counts
        self.tally.alter("message that is there already with another text or thread: its edits are added")

    def refuse(self, order: Order, why: str) -> None:
        """Count an order that came to nothing."""
        (self.tally.skip if order.counts else self.tally.omit)(f"{order.kind} {why}")


async def import_slack(client: Client, path: Path, *, team: str, progress: Progress) -> Imported:
    """Import an export.

    `team` is part of every id: the workspace that is imported into. No record ends the run (AT-55).
    """
    done = Imported()
    with Export(path, done.tally) as export:
        for conversation, records in export.conversations():
            conversion = convert(conversation, records, team, done.tally, now_us())
            del records
            channel = await _create(client, conversion, done)
            if channel is not None:
                done.channels += 1
                run = _ChannelRun(client, channel, conversion.orders, done)
                await run.run(functools.partial(progress, conversation.title))
    return done


async def _create(client: Client, conversion: Conversion, done: Imported) -> str | None:
    create = conversion.create
    try:
        ack = await client.command(
            create.kind, conversion.channel, id=create.id, origin=create.origin, **create.fields
        )
    except (ClientClosed, SessionEnded):
        raise
    except ParleyError as error:
        if isinstance(error, Conflict) and (there := _there(conversion, error, done)) is not None:
            return there
        done.tally.omit(f"channel refused by the server: {error.code}")
        for order in conversion.orders:
            done.refuse(order, "in a channel that was refused by the server")
        return None
    done.count(create, ack)
    return ack.channel


def _there(conversion: Conversion, conflict: Conflict, done: Imported) -> str | None:
    """The id of a channel that is there already and the same; None if it is somebody else's."""
    create = conversion.create
    members = create.fields.get("members")
    if create.fields.get("kind") == "direct" and isinstance(members, list):  # its members talk here already
        return direct_channel_id(frozenset(map(UserId, (*members, create.origin.author))))
    if conflict.seq is None:
        return None
    done.tally.alter("channel that is there already, by another name or topic: goes on as it is")
    return conversion.channel or private_channel_id(UserId(create.origin.author), create.id)


class _ChannelRun:
    """The orders of one channel, pipelined; Slack's times become numbers through the acks."""

    def __init__(self, client: Client, channel: str, orders: Sequence[Order], done: Imported) -> None:
        self._client = client
        self._channel = channel
        self._orders = orders
        self._done = done
        self._needed = {key for order in orders for key in (order.ref, order.thread)}
        self._posted: dict[str, asyncio.Future[Ack]] = {}
        self._slots = asyncio.Semaphore(PIPELINE)

    async def run(self, progress: Callable[[int, int], None]) -> None:
        async with asyncio.TaskGroup() as group:
            for given, order in enumerate(self._orders):
                if given % SHOWN_EVERY == 0:
                    progress(given, len(self._orders))
                future = await self._post(order)
                if future is not None:
                    group.create_task(self._settle(order, future))
        progress(len(self._orders), len(self._orders))

    async def _post(self, order: Order) -> asyncio.Future[Ack] | None:
        fields = dict(order.fields)
        if order.ref is not None:
            ref = await self._seq_of(order.ref)
            if ref is None:
                self._done.refuse(order, "of a message that is not imported")
                return None
            fields["ref"] = ref
        if order.thread is not None:
            fields["thread"] = await self._seq_of(order.thread)
            if fields["thread"] is None:
                self._done.tally.alter("reply whose root is not imported: outside its thread")
        await self._slots.acquire()
        try:
            future = self._client.post(order.kind, self._channel, id=order.id, origin=order.origin, **fields)
        except (ClientClosed, SessionEnded):
            raise
        except ParleyError as error:
            self._slots.release()
            self._done.refuse(order, f"refused: {error.code}")
            return None
        if order.creates in self._needed and order.creates is not None:
            self._posted[order.creates] = future
        return future

    async def _seq_of(self, key: str) -> int | None:
        future = self._posted.get(key)
        if future is None:
            return None
        try:
            return (await future).seq
        except (ClientClosed, SessionEnded):
            raise
        except Conflict as conflict:
            return conflict.seq
        except ParleyError:
            return None

    async def _settle(self, order: Order, future: asyncio.Future[Ack]) -> None:
        try:
            self._done.count(order, await future)
        except (ClientClosed, SessionEnded):
            raise
        except ParleyError as error:
            if isinstance(error, Conflict) and error.seq is not None and order.creates is not None:
                self._done.find(order)
            else:
                self._done.refuse(order, f"refused by the server: {error.code}")
        finally:
            self._slots.release()
