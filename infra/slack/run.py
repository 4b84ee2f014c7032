"""Gives the orders of an import to a server, channel by channel, and counts what came of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from infra.slack.convert import convert
from infra.slack.export import Export
from infra.slack.orders import Conversion, Order
from infra.slack.tally import Tally
from shared.client import Ack, Client, ClientClosed, SessionEnded
from shared.errors import Conflict, ParleyError
from shared.ids import direct_channel_id

PIPELINE = 64
"""Unanswered orders of a channel; one that needs the number of another waits for that one."""


@dataclass(slots=True)
class Imported:
    """What an import did."""

    channels: int = 0
    new: Counter[str] = field(default_factory=Counter)
    duplicate: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)

    def count(self, kind: str, ack: Ack) -> None:
        """Count an answer."""
        (self.duplicate if ack.duplicate else self.new)[kind] += 1


async def import_slack(
    client: Client, path: Path, *, team: str, progress: Callable[[str, int], None]
) -> Imported:
    """Import an export; `progress` hears each channel's name and how many orders it has.

    `team` is part of every id: the workspace that is imported into. No record ends the run (AT-55).
    """
    done = Imported()
    with Export(path, done.tally) as export:
        for conversation in export.conversations():
            conversion = convert(conversation, export.messages(conversation.folder), team, done.tally)
            if conversion is None:
                continue
            progress(conversation.folder, len(conversion.orders))
            channel = await _create(client, conversion, done)
            if channel is not None:
                done.channels += 1
                await _ChannelRun(client, channel, done).run(conversion.orders)
    return done


async def _create(client: Client, conversion: Conversion, done: Imported) -> str | None:
    create = conversion.create
    try:
        ack = await client.command(
            create.kind, conversion.channel, id=create.id, origin=create.origin, **create.fields
        )
    except (ClientClosed, SessionEnded):
        raise
    except Conflict:
        if (there := _direct(create)) is not None:  # its members talk here already
            return there
        done.tally.skip("channel refused by the server: its id is taken")
        done.tally.skip("record of a channel that was refused", len(conversion.orders))
        return None
    except ParleyError as error:
        done.tally.skip(f"channel refused by the server: {error.code}")
        done.tally.skip("record of a channel that was refused", len(conversion.orders))
        return None
    done.count(create.kind, ack)
    return ack.channel


def _direct(create: Order) -> str | None:
    members = create.fields.get("members")
    if create.fields.get("kind") != "direct" or not isinstance(members, list):
        return None
    return direct_channel_id(frozenset(members))


class _ChannelRun:
    """The orders of one channel, pipelined; `ts` becomes seq through the acks."""

    def __init__(self, client: Client, channel: str, done: Imported) -> None:
        self._client = client
        self._channel = channel
        self._done = done
        self._posted: dict[str, asyncio.Future[Ack]] = {}
        self._slots = asyncio.Semaphore(PIPELINE)

    async def run(self, orders: Iterable[Order]) -> None:
        async with asyncio.TaskGroup() as group:
            for order in orders:
                future = await self._post(order)
                if future is not None:
                    group.create_task(self._settle(order, future))

    async def _post(self, order: Order) -> asyncio.Future[Ack] | None:
        fields = dict(order.fields)
        if order.ref is not None:
            ref = await self._seq_of(order.ref)
            if ref is None:
                self._done.tally.skip(f"{order.kind} of a message that is not imported")
                return None
            fields["ref"] = ref
        if order.thread is not None:
            fields["thread"] = await self._seq_of(order.thread)
            if fields["thread"] is None:
                self._done.tally.alter("reply whose root is not imported: outside its thread")
        await self._slots.acquire()
        future = self._client.post(order.kind, self._channel, id=order.id, origin=order.origin, **fields)
        if order.ts is not None:
            self._posted[order.ts] = future
        return future

    async def _seq_of(self, ts: str) -> int | None:
        future = self._posted.get(ts)
        if future is None:
            return None
        try:
            return (await future).seq
        except (ClientClosed, SessionEnded):
            raise
        except ParleyError:
            return None

    async def _settle(self, order: Order, future: asyncio.Future[Ack]) -> None:
        try:
            self._done.count(order.kind, await future)
        except (ClientClosed, SessionEnded):
            raise
        except ParleyError as error:
            self._done.tally.skip(f"{order.kind} refused by the server: {error.code}")
        finally:
            self._slots.release()
