"""A Slack export's records: messages as they are at the end, each with a time of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infra.export.selection import Selection
from infra.export.slack_records import read_shown, record_of, ts_of
from infra.export.source import opened
from shared import events as e
from tests.support.archived import START_US, WORKSPACE, archive_of, recorded
from tests.support.events import example

CREATED = example(e.ChannelCreated, author="alice")


def records(folder: Path, *events: e.KnownEvent | bytes) -> list[dict[str, Any]]:
    archive = archive_of(folder / "a", recorded("tea", [CREATED, *events]))
    with opened(archive, Selection(WORKSPACE), folder) as source:
        return [record_of(shown, "before") for shown in read_shown(source)]


def posted(text: str, at: str | None = None, thread: int | None = None) -> e.KnownEvent:
    imported = {"by": "importer", "at": at} if at else None
    return example(e.MessagePosted, text=text, thread=thread, imported=imported)


def test_edits_deletions_and_reactions_are_folded(tmp_path: Path) -> None:
    """The last text and who wrote it, no text of what is deleted, only reactions that still stand."""
    edited, deleted = records(
        tmp_path,
        posted("one"),
        posted("two"),
        example(e.MessageEdited, ref=2, text="one!", ref_author="alice"),
        example(e.MessageEdited, ref=2, text="one!!", ref_author="alice"),
        example(e.ReactionAdded, ref=2, emoji="b"),
        example(e.ReactionAdded, author="bob", ref=2, emoji="a", imported={"by": "x", "at": AT}),
        example(e.ReactionAdded, ref=2, emoji="a"),
        example(e.ReactionAdded, ref=2, emoji="gone"),
        example(e.ReactionRemoved, ref=2, emoji="gone"),
        example(e.MessageDeleted, ref=3, ref_author="alice"),
        example(e.ReactionAdded, author="eve", ref=2, emoji="void"),
    )
    assert (edited["text"], edited["edited"]) == ("one!!", {"user": "alice", "ts": ts_of(START_US)})
    assert edited["reactions"] == [
        {"name": "b", "users": ["alice"], "count": 1},
        {"name": "a", "users": ["bob", "alice"], "count": 2},
    ]
    assert (deleted["subtype"], deleted["text"]) == ("tombstone", "This message was deleted.")
    assert "two" not in str(deleted)


AT = "2016-01-15T05:55:18.250Z"


def test_what_is_erased_has_no_text(tmp_path: Path) -> None:
    """A message, and everything that a user has said before; not what he says after."""
    found = records(
        tmp_path,
        example(e.MemberJoined, author="bob"),
        posted("secret"),
        example(e.MessageEdited, ref=3, text="secret, edited", ref_author="alice"),
        example(e.MessagePosted, author="bob", text="secret of bob"),
        example(e.MessageErased, ref=3),
        example(e.UserErased, user="bob"),
        example(e.MessagePosted, author="bob", text="hello again"),
        posted("mine"),
    )
    assert [record.get("subtype", record["text"]) for record in found] == [
        "channel_join",
        "tombstone",
        "tombstone",
        "hello again",
        "mine",
    ]
    assert "secret" not in str(found)


def test_no_two_records_share_a_time(tmp_path: Path) -> None:
    """Any number of events may have one: a microsecond apart, in the order of their numbers; others keep
    theirs, and imported ones have the time of where they came from."""
    many = [posted(str(n), AT) for n in range(1_500)]
    later = posted("later", "2016-01-15T05:55:18.251Z")
    earlier = posted("earlier", "2016-01-15T05:55:18.249Z")
    found = records(tmp_path, *many, later, earlier, posted("now"), posted("ancient", "0001-01-01T00:00:00Z"))
    texts = ["ancient", "earlier", *map(str, range(1_500)), "later", "now"]
    assert [record["text"] for record in found] == texts
    times = [record["ts"] for record in found]
    assert times[:4] == ["0.000000", "1452837318.249000", "1452837318.250000", "1452837318.250001"]
    assert times[-2:] == ["1452837318.251500", ts_of(START_US)]
    assert len(set(times)) == len(times)


def test_threads(tmp_path: Path) -> None:
    """Root and replies have the root's time."""
    root, reply, plain = records(tmp_path, posted("root"), posted("reply", thread=2), posted("plain"))
    assert root["thread_ts"] == reply["thread_ts"] == root["ts"] != reply["ts"]
    assert root["reply_count"] == 1
    assert "thread_ts" not in plain


def test_events_of_the_channel(tmp_path: Path) -> None:
    """Slack's words for who came and went and what was changed; the rest has none, and voids are nothing."""
    found = records(
        tmp_path,
        example(e.MemberJoined, author="bob"),
        example(e.MemberInvited, user="eve"),
        example(e.MemberLeft, author="bob"),
        example(e.MemberRoleChanged, user="eve", role="admin"),
        example(e.MemberRemoved, user="eve"),
        example(e.ChannelRenamed, name="after"),
        example(e.ChannelTopicSet, topic="green"),
        example(e.ChannelArchived),
        posted("void"),
        example(e.ChannelUnarchived),
        b"no event",
    )
    assert [(record["subtype"], record["user"]) for record in found] == [
        ("channel_join", "bob"),
        ("channel_join", "eve"),
        ("channel_leave", "bob"),
        ("channel_leave", "eve"),
        ("channel_name", "alice"),
        ("channel_topic", "alice"),
        ("channel_archive", "alice"),
        ("channel_unarchive", "alice"),
    ]
    assert (found[1]["inviter"], found[4]["old_name"], found[4]["name"]) == ("alice", "before", "after")
    assert found[5]["topic"] == "green"


def test_an_event_that_the_columns_cannot_hold(tmp_path: Path) -> None:
    """Written by another encoder: its text, its time and its emoji are found all the same."""
    body = (
        b'{"kind": "message.posted", "text": "spaces", "author": "alice", "id": "%s", "v": 1, "imported": %s}'
    )
    react = b'{"kind": "reaction.added", "ref": 2, "emoji": "ok", "author": "alice", "id": "%s", "v": 1}'
    (record,) = records(
        tmp_path,
        body % (CREATED.id.encode(), b'{"by": "x", "at": "%s"}' % AT.encode()),
        react % CREATED.id.encode(),
    )
    assert (record["text"], record["ts"]) == ("spaces", "1452837318.250000")
    assert record["reactions"] == [{"name": "ok", "users": ["alice"], "count": 1}]


def test_what_has_expired_has_no_text(tmp_path: Path) -> None:
    """A tombstone, as what was erased; a message that is young enough is there."""
    found = records(
        tmp_path,
        example(e.ChannelRetentionSet, days=30),
        posted("secret"),
        example(e.MessageEdited, ref=3, text="secret, edited", ref_author="alice"),
        posted("young"),
        example(e.MessagesExpired, author="parley", since=1, before=5),
    )
    assert [record.get("subtype", record["text"]) for record in found][-2:] == ["tombstone", "young"]
    assert "secret" not in str(found)
