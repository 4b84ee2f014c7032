"""Search of a real archiver on a real server: what is acknowledged is found, by whoever may read it now."""

from __future__ import annotations

import asyncio
import random
import secrets
from pathlib import Path

import pytest

from shared import events as e
from shared.bus import Bus
from shared.events import KnownEvent, encode
from shared.ids import ChannelId, ChannelKey, Partition, Seq, UserId, WorkspaceId, new_command_id
from shared.records import Failure
from shared.search import FoundText, SearchReply, SearchRequest, TextsReply, TextsRequest
from shared.settings import CommonSettings
from shared.subjects import archive_subject, partition_of
from tests.support.archive import ALICE, archiver_settings, posted, running, status, store
from tests.support.events import NOW_MS, example, made
from tests.support.waiting import eventually

BOB = UserId("bob")


class Rooms:
    """Channels of a workspace of its own, spread over two partitions."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        while True:  # in which the first two channels lie in different partitions
            self.workspace = WorkspaceId(f"w{secrets.token_hex(4)}")
            if partition_of(self.key("tea"), 2) != partition_of(self.key("go"), 2):
                break

    def key(self, channel: str) -> ChannelKey:
        """A channel."""
        return ChannelKey(self.workspace, ChannelId(channel))

    async def create(self, channel: str, kind: str = "public", name: str = "n") -> None:
        """A channel of Alice's."""
        fields = {"channel_kind": kind, "name": name, "id": new_command_id(NOW_MS), "author": ALICE}
        await self.say(channel, made(e.ChannelCreated, fields))

    async def say(self, channel: str, *events: KnownEvent) -> None:
        """Events, acknowledged when this returns."""
        await store(self.bus, self.key(channel), [encode(event) for event in events])

    async def search(self, query: str, user: UserId = ALICE, **fields: object) -> list[str]:
        """What all partitions find together, in order of their names."""
        hits = []
        for partition in range(2):
            reply = SearchReply.model_validate_json(await self.ask(partition, query, user, **fields))
            assert reply.count == len(reply.hits)
            hits += [f"{hit.channel}/{hit.seq}" for hit in reply.hits]
        return sorted(hits)

    async def ask(self, partition: int, query: str, user: UserId = ALICE, **fields: object) -> bytes:
        """One question to one partition."""
        request = SearchRequest.model_validate(
            {"workspace": self.workspace, "user": user, "query": query, **fields}
        )
        subject = archive_subject(Partition(partition), "search")
        return await self.bus.request(subject, request.model_dump_json().encode(), timeout_s=30)

    async def texts(self, query: str, channel: str, *seqs: int, user: UserId = ALICE) -> list[FoundText]:
        """What stands in messages of a channel."""
        places = tuple((ChannelId(channel), Seq(seq)) for seq in seqs)
        request = TextsRequest(workspace=self.workspace, user=user, query=query, places=places)
        subject = archive_subject(partition_of(self.key(channel), 2), "texts")
        raw = await self.bus.request(subject, request.model_dump_json().encode(), timeout_s=30)
        return list(TextsReply.model_validate_json(raw).texts)


HEATS = pytest.mark.parametrize(
    "flush", [{"flush_events": 1_000, "flush_interval_s": 3600.0}, {"flush_events": 1}]
)


@HEATS
async def test_acknowledged_is_found(
    bus: Bus, settings: CommonSettings, tmp_path: Path, flush: dict[str, object]
) -> None:
    """Message by message, edit by edit, at once, before anything is archived and behind it (AT-50)."""
    rooms = Rooms(bus)
    async with running(bus, archiver_settings(settings, tmp_path / "archive", **flush)):
        for channel in ("tea", "go"):
            await rooms.create(channel)
            for number in range(5):
                await rooms.say(channel, posted(f"kettle {number}"))
                assert f"{channel}/{number + 2}" in await rooms.search("kettle")
        await rooms.say("tea", example(e.MessageEdited, ref=3, text="a pot"))
        assert "tea/3" not in await rooms.search("kettle")
        assert await rooms.search("pot") == ["tea/3"]
        await rooms.say("tea", example(e.MessageDeleted, ref=4))
        assert await rooms.search("in:tea kettle") == ["tea/2", "tea/5", "tea/6"]
        await rooms.say("go", example(e.ReactionAdded, ref=2))
        assert await rooms.search("has:reaction") == ["go/2"]


@HEATS
async def test_snippets_show_what_stands_there_now(
    bus: Bus, settings: CommonSettings, tmp_path: Path, flush: dict[str, object]
) -> None:
    """Of the last edit, with author and thread; deleted messages are gone."""
    rooms = Rooms(bus)
    async with running(bus, archiver_settings(settings, tmp_path / "archive", **flush)):
        await rooms.create("tea")
        await rooms.say("tea", posted("first kettle"), posted("second kettle", thread=2), posted("third"))
        await rooms.say("tea", example(e.MessageEdited, ref=3, text="the new kettle"))
        await rooms.say("tea", example(e.MessageDeleted, ref=4))
        found = await rooms.texts("kettle", "tea", 2, 3, 4, 99)
        assert [(it.seq, it.snippet.text, it.edited, it.thread) for it in found] == [
            (2, "first kettle", False, None),
            (3, "the new kettle", True, 2),
        ]
        assert [it.snippet.ranges for it in found] == [((6, 12),), ((8, 14),)]
        assert found[0].author == ALICE


async def test_who_may_read_now_decides(bus: Bus, settings: CommonSettings, tmp_path: Path) -> None:
    """Invited, removed, again: hits, counts and texts follow at once (AT-46)."""
    rooms = Rooms(bus)
    async with running(bus, archiver_settings(settings, tmp_path / "archive")):
        await rooms.create("p_1", "private", "secret lair")
        await rooms.say("p_1", posted("the kettle is hidden"))
        await rooms.create("tea")
        await rooms.say("tea", posted("open kettle"))
        for _ in range(3):
            assert await rooms.search("kettle", BOB) == ["tea/2"]
            assert await rooms.texts("kettle", "p_1", 2, user=BOB) == []
            await rooms.say("p_1", example(e.MemberInvited, user=BOB))
            assert {"p_1/2", "tea/2"} <= set(await rooms.search("kettle", BOB))
            assert len(await rooms.texts("kettle", "p_1", 2, user=BOB)) == 1
            await rooms.say("p_1", example(e.MemberRemoved, user=BOB), posted("kettle, now that bob is gone"))
        assert await rooms.search('in:"secret lair" kettle', BOB) == []
        for query in ("in:p_1 kettle", "in:nowhere kettle", 'in:"secret lair" kettle'):
            replies = [SearchReply.model_validate_json(await rooms.ask(p, query, BOB)) for p in range(2)]
            assert replies[0] == replies[1]
            assert [it.known for it in replies[0].inside] == [False]


async def test_former_members_and_names_are_found(bus: Bus, settings: CommonSettings, tmp_path: Path) -> None:
    """Who has left wrote what they wrote, and a channel is found by every name that it had."""
    rooms = Rooms(bus)
    async with running(bus, archiver_settings(settings, tmp_path / "archive", flush_events=3)):
        await rooms.create("tea", name="Old Name")
        await rooms.say("tea", example(e.MemberJoined, author="bob"), posted("kettle", BOB))
        await rooms.say("tea", example(e.MemberLeft, author="bob"))
        await rooms.say("tea", example(e.ChannelRenamed, name="New Name"))
        assert await rooms.search("from:bob") == ["tea/3"]
        for name in ("tea", '"old name"', '"NEW NAME"'):
            assert await rooms.search(f"in:{name} kettle") == ["tea/3"]


async def test_void_messages_are_not_found(bus: Bus, settings: CommonSettings, tmp_path: Path) -> None:
    """What was not allowed at its place says nothing."""
    rooms = Rooms(bus)
    async with running(bus, archiver_settings(settings, tmp_path / "archive", flush_events=2)):
        await rooms.create("tea")
        await rooms.say("tea", posted("kettle", UserId("mallory")), posted("kettle"))
        await rooms.say(
            "tea", example(e.MessageEdited, author="mallory", ref=3, ref_author="alice", text="forged")
        )
        assert await rooms.search("kettle") == ["tea/3"]
        assert await rooms.search("forged") == []


async def test_a_bad_query_has_a_place(bus: Bus, settings: CommonSettings, tmp_path: Path) -> None:
    """The failure says where; other requests' faults have none."""
    rooms = Rooms(bus)
    async with running(bus, archiver_settings(settings, tmp_path / "archive")):
        failure = Failure.model_validate_json(await rooms.ask(0, "tea form:ada"))
        assert (failure.error, failure.place) == ("bad_query", (4, 8))
        assert Failure.model_validate_json(await rooms.ask(0, "tea", zone="Mars")).error == "bad_request"
        assert Failure.model_validate_json(await rooms.ask(0, "tea", epoch="other")).error == "unavailable"
        for operation in ("search", "texts"):
            raw = await bus.request(archive_subject(Partition(0), operation), b"{}", timeout_s=30)
            assert Failure.model_validate_json(raw).error == "bad_request"


async def test_a_rebuilt_index_finds_the_same(bus: Bus, settings: CommonSettings, tmp_path: Path) -> None:
    """Deleted while nobody runs, it is made again from Parquet, while more is written."""
    rooms = Rooms(bus)
    rng = random.Random(3)
    keeping = archiver_settings(settings, tmp_path / "archive", flush_events=20)
    queries = ("kettle", "pot", "from:alice", "has:reaction", "kettle -pot", "東京")
    async with running(bus, keeping):
        for channel in ("tea", "go"):
            await rooms.create(channel)
            for number in range(40):
                ref = rng.randint(2, 2 + number)
                event: KnownEvent = rng.choice(
                    [
                        posted(rng.choice(["kettle", "a pot", "kettle and pot", "東京"])),
                        example(e.MessageEdited, ref=ref, text="pot"),
                        example(e.MessageDeleted, ref=ref),
                        example(e.ReactionAdded, ref=ref),
                    ]
                )
                await rooms.say(channel, event)
        before = [await rooms.search(query, limit=200) for query in queries]
    for path in (tmp_path / "archive" / "cache").glob("*.search.sqlite*"):
        path.unlink()
    async with running(bus, keeping):
        assert [await rooms.search(query, limit=200) for query in queries] == before
        for partition in range(2):
            report = await status(bus, partition)
            assert report is not None
            assert report.searchable is not None
            assert report.searchable >= report.watermark


async def test_many_searches_while_much_is_said(bus: Bus, settings: CommonSettings, tmp_path: Path) -> None:
    """Each finds at least what was acknowledged when it began."""
    rooms = Rooms(bus)
    async with running(bus, archiver_settings(settings, tmp_path / "archive", flush_events=50)):
        await rooms.create("tea")
        said = 0

        async def talk() -> None:
            nonlocal said
            for _ in range(150):
                await rooms.say("tea", posted("kettle"))
                said += 1

        talking = asyncio.create_task(talk())
        while not talking.done():
            least = said
            assert len(await rooms.search("kettle", limit=200)) >= least
        await talking
        assert len(await rooms.search("kettle", limit=200)) == 150


async def test_archivers_that_divide_the_partitions(
    bus: Bus, settings: CommonSettings, tmp_path: Path
) -> None:
    """Each answers for its own; who takes over finds what the other has put into its index."""
    rooms = Rooms(bus)
    halves = [archiver_settings(settings, tmp_path / "archive", archiver_partitions=own) for own in "01"]
    channels = ("tea", "go", "rust", "news")
    assert {partition_of(rooms.key(channel), 2) for channel in channels} == {0, 1}
    async with running(bus, halves[0]), running(bus, halves[1]):
        for channel in channels:
            await rooms.create(channel)
            await rooms.say(channel, posted("kettle"))
        expected = sorted(f"{channel}/2" for channel in channels)
        assert await rooms.search("kettle") == expected
    async with running(bus, archiver_settings(settings, tmp_path / "archive")):
        assert await rooms.search("kettle") == expected


async def test_damage_that_a_question_meets_is_repaired(
    bus: Bus, settings: CommonSettings, tmp_path: Path
) -> None:
    """The question is answered `unavailable`, the next ones right: from an index that was made anew."""
    rooms = Rooms(bus)
    keeping = archiver_settings(settings, tmp_path / "archive", flush_events=10)
    async with running(bus, keeping):
        await rooms.create("tea")
        await rooms.say("tea", *(posted(f"kettle {number} {secrets.token_hex(200)}") for number in range(60)))
        assert len(await rooms.search("kettle", limit=200)) == 60
    partition = partition_of(rooms.key("tea"), 2)
    path = tmp_path / "archive" / "cache" / f"p{partition:02d}.search.sqlite"
    content = bytearray(path.read_bytes())
    words = content.index(b"kettle")
    content[words - 40 : words + 3000] = b"\x55" * 3040
    path.write_bytes(content)
    async with running(bus, keeping):

        async def whole() -> bool:
            reply = await rooms.ask(partition, "kettle", limit=200)
            return b'"hits"' in reply and len(SearchReply.model_validate_json(reply).hits) == 60

        await eventually(whole, within_s=90)
