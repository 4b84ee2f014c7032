"""What a Slack export's lists say is the channel at the end; no name of a channel is a way out of the zip."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.export.selection import Selection
from infra.export.slack_channels import Channel, read_channels
from infra.export.source import opened
from shared import events as e
from tests.support.archived import WORKSPACE, archive_of, recorded
from tests.support.events import example


def channels_of(folder: Path, **logs: list[e.KnownEvent | bytes]) -> dict[str, Channel]:
    rows = [recorded(channel, events) for channel, events in logs.items()]
    with opened(archive_of(folder / "a", *rows), Selection(WORKSPACE), folder) as source:
        return read_channels(source)


def named(name: str) -> list[e.KnownEvent | bytes]:
    return [example(e.ChannelCreated, name=name)]


def test_a_channel_at_the_end(tmp_path: Path) -> None:
    """Name, topic, members, pins and archiving as the log left them; what is void has no effect."""
    log: list[e.KnownEvent | bytes] = [
        example(e.ChannelCreated, author="ada", name="first", topic="old", imported={"by": "x", "at": AT}),
        example(e.MemberJoined, author="bob"),
        example(e.MessagePosted, author="bob"),
        example(e.PinAdded, author="bob", ref=3),
        example(e.PinAdded, author="ada", ref=3),
        example(e.PinAdded, author="ada", ref=2),
        example(e.PinRemoved, author="ada", ref=2),
        example(e.ChannelRenamed, author="eve", name="eve was here"),
        example(e.ChannelRenamed, author="ada", name="tea"),
        example(e.ChannelTopicSet, author="ada", topic="green"),
        example(e.MemberLeft, author="ada"),
    ]
    (channel,) = channels_of(tmp_path, C1=log).values()
    assert (channel.folder, channel.first_name, channel.list_name) == ("tea", "first", "channels.json")
    assert channel.entry({3: "7.000000"}) == {
        "id": "C1",
        "created": 1_452_837_318,
        "name": "tea",
        "creator": "ada",
        "is_archived": False,
        "is_general": False,
        "members": ["bob"],
        "topic": {"value": "green", "creator": "", "last_set": 0},
        "purpose": {"value": "", "creator": "", "last_set": 0},
        "pins": [{"id": "7.000000", "type": "C", "user": "bob"}],
    }


AT = "2016-01-15T05:55:18.250Z"


@pytest.mark.parametrize("kind", ["public", "private", "direct"])
def test_lists(tmp_path: Path, kind: str) -> None:
    """Each kind has its own; a direct channel's folder is its id."""
    created = example(e.ChannelCreated, channel_kind=kind, name="tea", members=("bob",))
    (channel,) = channels_of(tmp_path, C1=[created]).values()
    assert channel.list_name == {"public": "channels", "private": "groups", "direct": "dms"}[kind] + ".json"
    assert channel.folder == ("C1" if kind == "direct" else "tea")
    assert channel.entry({})["members"] == (["bob"] if kind == "direct" else ["alice", "bob"])


NAMES = [
    "../../etc/passwd",
    "/abs",
    "a/b",
    "a\\b",
    "..",
    ".",
    ".hidden",
    "",
    "a\nb",
    "x" * 101,
    "-",
    "C:",
    "a b",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_no_folders(tmp_path: Path, name: str) -> None:
    """The channel's id is its folder; the name itself stands in the list."""
    (channel,) = channels_of(tmp_path, C1=named(name)).values()
    assert channel.folder == "C1"
    assert channel.entry({})["name"] == name


def test_no_two_channels_share_a_folder(tmp_path: Path) -> None:
    """Equal names, names that differ in case only, and a name that is the id of another one."""
    found = channels_of(
        tmp_path, C1=named("tea"), C2=named("tea"), C3=named("Tea"), C4=named("c1"), C5=named("été")
    )
    assert [channel.folder for channel in found.values()] == ["tea", "C2", "C3", "C4", "été"]


def test_a_channel_that_was_never_created(tmp_path: Path) -> None:
    """A log of voids is no channel in Slack."""
    assert channels_of(tmp_path, C1=[example(e.MessagePosted)], C2=[b"no event"]) == {}
