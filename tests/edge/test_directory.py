"""The directory as the edge reads it: pages of a session, pages of a list, and what they cost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from edge import listing
from edge.core.principal import Principal
from edge.directory import Directory
from shared.bus import Bus, Message
from shared.ids import ChannelId, Seq, StreamSeq, UserId, WorkspaceId
from shared.records import Belonging, PublicChannel
from shared.settings import CommonSettings
from shared.streams import ensure_streams
from shared.subjects import DIRECTORY, bucket_stream, directory_key, kv_subject, public_directory_key
from tests.support.storing import put

ANN = UserId("ann")


class Counter:
    """What a reader asked of the bucket, and how many values it was sent."""

    requests = 0
    values = 0

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._told = asyncio.Event()

    def told(self, _: Message) -> None:
        self._told.set()

    def asked(self, _: Message) -> None:
        self.requests += 1

    def answered(self, message: Message) -> None:
        self.values += "Nats-Sequence" in message.headers

    async def take(self) -> tuple[int, int]:
        """The counts since the last call; what the reader says last comes behind all that it was answered."""
        self._told.clear()
        await self._bus.publish("directory.counted", b"")
        async with asyncio.timeout(30):
            await self._told.wait()
        counts = self.requests, self.values
        self.requests = self.values = 0
        return counts


@contextlib.asynccontextmanager
async def counting(bus: Bus, settings: CommonSettings) -> AsyncIterator[Counter]:
    """Counts the reader's requests to the directory and the answers to them, from beside it."""
    counter = Counter(bus)
    async with Bus.connect(settings, "observer") as observer:
        await observer.subscribe(f"$JS.API.DIRECT.GET.{bucket_stream(DIRECTORY)}", counter.asked)
        await observer.subscribe(f"{bus.inbox}.*", counter.answered)
        await observer.subscribe("directory.counted", counter.told)
        await observer.request("$JS.API.INFO", b"", timeout_s=30)  # the subscriptions are in force
        yield counter


def principal(workspace: str, user: UserId = ANN) -> Principal:
    return Principal(user, WorkspaceId(workspace), frozenset(), 0.0)


async def put_public(bus: Bus, workspace: str, *channels: str) -> None:
    """Public channels appear, or change; the answer to the last one comes when all are stored."""
    for number, channel in enumerate(channels, 1):
        record = PublicChannel(
            channel=ChannelId(channel), name=channel, topic="", archived=False, members=1,
            seq=Seq(1), stream_seq=StreamSeq(1),
        )  # fmt: skip
        key = public_directory_key(WorkspaceId(workspace), ChannelId(channel))
        put = bus.commit if number == len(channels) else bus.publish
        await put(kv_subject(DIRECTORY, key), record.model_dump_json().encode())


async def put_belonging(bus: Bus, workspace: str, *channels: str, member: bool = True) -> None:
    """Ann belongs to these channels, or no longer."""
    for channel in channels:
        record = Belonging(
            channel=ChannelId(channel), member=member, kind="private", seq=Seq(1), stream_seq=StreamSeq(1)
        )
        key = directory_key(WorkspaceId(workspace), ANN, ChannelId(channel))
        await put(bus, kv_subject(DIRECTORY, key), record.model_dump_json().encode())


async def listed(directory: Directory, workspace: str, limit: int) -> list[str]:
    """All that `listed` gives, page by page."""
    found: list[str] = []
    while page := await directory.listed(principal(workspace), found[-1] if found else "", limit):
        found += page
    return found


@pytest.fixture
async def directory(bus: Bus, settings: CommonSettings) -> Directory:
    await ensure_streams(bus, settings)
    return Directory(bus, spawn=asyncio.create_task)


async def test_a_page_reads_only_what_changed(
    bus: Bus, settings: CommonSettings, directory: Directory
) -> None:
    """Of 700 channels a page of the list reads what changed since the last one, and not all of them again."""
    names = sorted(f"c{number}" for number in range(700))
    await put_public(bus, "many", *reversed(names))
    assert list(await directory.listed(principal("many"), "", 10)) == names[:10]
    async with counting(bus, settings) as counter:
        assert list(await directory.listed(principal("many"), names[9], 10)) == names[10:20]
        assert await counter.take() == (2, 0)
        await put_public(bus, "many", names[15], "c")
        assert list(await directory.listed(principal("many"), "", 3)) == ["c", *names[:2]]
        requests, values = await counter.take()
        assert (requests <= 3, values) == (True, 2)


async def test_every_channel_is_listed_once(bus: Bus, directory: Directory) -> None:
    """One's own and the public ones in order of id, whatever the size of the page; others' are not there."""
    await put_public(bus, "once", "b", "a-b", "A", "_")
    await put_belonging(bus, "once", "p_1", "b", "p_0")
    await put_public(bus, "elsewhere", "not-here")
    for limit in (1, 2, 5, 100):
        assert await listed(directory, "once", limit) == ["A", "_", "a-b", "b", "p_0", "p_1"]
    page = await directory.listed(principal("once"), "", 100)
    own = [channel for channel, public in page.items() if public is None]
    assert own == ["b", "p_0", "p_1"]
    assert list(await directory.listed(principal("once", UserId("eve")), "", 9)) == ["A", "_", "a-b", "b"]


async def test_who_leaves_and_comes_back(bus: Bus, directory: Directory) -> None:
    """A list follows what the directory says last."""
    for member in (True, False, True, False):
        await put_belonging(bus, "moves", "p_1", member=member)
        assert await listed(directory, "moves", 10) == ["p_1"] * member


async def test_a_bucket_that_was_recreated_is_read_anew(
    bus: Bus, settings: CommonSettings, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the age of a view, at the latest, the list is what the new bucket says."""
    await put_public(bus, "anew", "old-1", "old-2")
    assert await listed(directory, "anew", 10) == ["old-1", "old-2"]
    await bus.api(f"STREAM.DELETE.{bucket_stream(DIRECTORY)}", {})
    await ensure_streams(bus, settings)
    await put_public(bus, "anew", "new")
    monkeypatch.setattr(listing, "AGE_MAX_S", 0.0)
    assert await listed(directory, "anew", 10) == ["new"]


async def test_what_is_kept_is_bounded(
    bus: Bus, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists that nobody asked for longest are forgotten, and are right when somebody does."""
    monkeypatch.setattr(listing, "ENTRIES_MAX", 3)
    monkeypatch.setattr(listing, "VIEWS_MAX", 3)
    for workspace in ("x1", "x2"):
        await put_public(bus, workspace, "a", "b", "c", "d")
    for workspace in ("x1", "x2", "x1"):
        assert await listed(directory, workspace, 10) == ["a", "b", "c", "d"]
        assert len(directory._listing._views) == 1


@pytest.mark.parametrize("count", [0, 1, 4, 5])
async def test_a_sessions_pages_cost_one_request(
    bus: Bus, settings: CommonSettings, directory: Directory, count: int
) -> None:
    """All pages of a user's channels are one request, and the last one says that it is the last."""
    workspace = f"pages-{count}"
    await put_belonging(bus, workspace, *(f"p_{number}" for number in range(count)))
    async with counting(bus, settings) as counter:
        pages = [page async for page in directory.pages(principal(workspace), 2)]
        counts = await counter.take()
    sizes = [2] * (count // 2) + [1] * (count % 2) or [0]
    assert [len(keys) for keys, _ in pages] == sizes
    assert [more for _, more in pages] == [True] * (len(sizes) - 1) + [False]
    assert counts == (1, count)


async def test_more_channels_than_one_answer_holds(bus: Bus, directory: Directory) -> None:
    """Whoever is in more than 1,024 channels is told of each once, page by page."""
    await put_belonging(bus, "many", *(f"m_{number:04d}" for number in range(1030)))
    pages = [page async for page in directory.pages(principal("many"), 500)]
    found = [key.channel for keys, _ in pages for key in keys]
    assert found == [f"m_{number:04d}" for number in range(1030)]
    assert [more for _, more in pages][-1] is False
