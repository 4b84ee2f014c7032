"""Channels whose messages expire: their events, and what of them is where."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from archiver.retention import AUTHOR
from shared import events as e
from shared.archive_files import pin, scan
from shared.archive_store import Archive
from shared.bus import Bus
from shared.clock import rfc3339
from shared.events import KnownEvent, encode
from shared.ids import ChannelKey, Seq, UserId, new_command_id
from shared.message_records import Message, MessagesPage, MessagesRequest
from shared.subjects import archive_subject, partition_of
from tests.support.archive import ALICE, committed, key_of, posted, read_logs, store
from tests.support.events import NOW_MS
from tests.support.waiting import eventually

TEA = key_of("tea")


def kept(days: int | None) -> e.ChannelRetentionSet:
    """An admin sets the channel's retention."""
    return e.ChannelRetentionSet(id=new_command_id(NOW_MS), author=ALICE, days=days)


def edited(ref: int, text: str) -> e.MessageEdited:
    """An edit by the author."""
    return e.MessageEdited(id=new_command_id(NOW_MS), author=ALICE, ref=Seq(ref), ref_author=ALICE, text=text)


def expiry(since: int, before: int, older_us: int) -> e.MessagesExpired:
    """What an archiver says."""
    return e.MessagesExpired(
        id=new_command_id(NOW_MS),
        author=AUTHOR,
        since=Seq(since),
        before=Seq(before),
        older_than=rfc3339(older_us),
    )


def imported(text: str, at: str) -> e.MessagePosted:
    """A message that is older than the log."""
    return posted(text, imported=e.Imported(by=UserId("tool"), at=at))


async def say(bus: Bus, *events: KnownEvent, key: ChannelKey = TEA) -> None:
    """Into the channel's log; returns when all of it is in Parquet."""
    await store(bus, key, [encode(event) for event in events])
    await committed(bus)


async def said(bus: Bus, key: ChannelKey = TEA) -> list[tuple[e.MessagesExpired, str | None]]:
    """The expiries that the channel's log holds, with their verdicts."""
    logged = await read_logs(bus)
    return [
        (one.event, one.void)
        for one in logged.events.get(key, ())
        if isinstance(one.event, e.MessagesExpired)
    ]


async def spans(bus: Bus, key: ChannelKey = TEA) -> list[tuple[int, int]]:
    """From where to where each of them goes."""
    return [(event.since, event.before) for event, void in await said(bus, key) if void is None]


async def expire_to(bus: Bus, before: int, key: ChannelKey = TEA) -> None:
    """Wait until it has been said."""

    async def is_said() -> bool:
        return any(span[1] == before for span in await spans(bus, key))

    await eventually(is_said, within_s=60)


async def messages(bus: Bus, key: ChannelKey = TEA) -> Sequence[Message]:
    """The channel's, as members see them."""
    request = MessagesRequest(workspace=key.workspace, channel=key.channel, limit=200)
    subject = archive_subject(partition_of(key, 2), "messages")
    reply = await bus.request(subject, request.model_dump_json().encode(), timeout_s=30)
    return MessagesPage.model_validate_json(reply).messages


async def texts(bus: Bus) -> list[str | None]:
    """What the messages say."""
    return [message.text for message in await messages(bus)]


async def no_text_in(archive: Archive, *gone: str) -> None:
    """Wait until no live file has any of these, nor one that was replaced."""

    def is_done() -> bool:
        manifests = pin(archive).manifests
        is_swept = not any(old.erased for manifest in manifests for old in manifest.retired)
        try:
            return is_swept and not {row.text for row in scan(archive)} & {*gone}
        except duckdb.IOException:  # a file was replaced meanwhile
            return False

    await eventually(is_done, within_s=60)
