"""The views fold the log as the services do: they show what a model of the fold says, whatever was said."""

from __future__ import annotations

import random
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from shared import events as e
from shared.archive_files import ARCHIVE_SQL, open_archive, scan
from shared.archive_rows import recorded_of
from shared.archive_views import told, views
from shared.channel import ChannelState, fold
from shared.clock import rfc3339
from shared.erasure import Erasures, erasure_of
from shared.events import KnownEvent, encode
from shared.ids import ChannelId, ChannelKey, Seq, UserId, WorkspaceId
from tests.support.events import example
from tests.support.sql_rows import Said, write_archive

USERS = [UserId(name) for name in ("ada", "bob", "cleo", "dä'n")]
START_US = 1_767_225_600_000_000
KINDS = (
    [e.MessagePosted] * 6
    + [e.MessageEdited, e.MessageDeleted] * 2
    + [e.ReactionAdded, e.ReactionRemoved] * 2
    + [e.MessageErased, e.UserErased, e.ChannelRetentionSet, e.MessagesExpired]
    + [e.MemberJoined, e.MemberLeft, e.MemberInvited, e.MemberRemoved, e.MemberRoleChanged]
    + [
        e.ChannelRenamed,
        e.ChannelTopicSet,
        e.ChannelArchived,
        e.ChannelUnarchived,
        e.PinAdded,
        e.ChannelCreated,
    ]
)


class Model:
    """What the services and clients know after each event, one channel."""

    def __init__(self) -> None:
        self.state: ChannelState | None = None
        self.head = 0
        self.created_by = ""
        self.authors: dict[int, str] = {}
        self.gone: set[int] = set()
        self.texts: dict[int, str] = {}
        self.reactions: set[tuple[int, str, str]] = set()

    def take(self, event: KnownEvent) -> None:
        """The next event."""
        self.head += 1
        self.state, void = fold(self.state, event)
        if void is not None:
            return
        match event:
            case e.MessagePosted():
                self.texts[self.head], self.authors[self.head] = event.text, event.author
            case e.MessageEdited() if event.ref in self.texts:
                self.texts[event.ref] = event.text
            case e.UserErased():
                self.texts = {s: t for s, t in self.texts.items() if self.authors[s] != event.user}
            case e.MessagesExpired():
                expired = {seq for seq in self.authors if seq < event.before}
                self.texts = {seq: text for seq, text in self.texts.items() if seq not in expired}
                self.gone |= expired
                self.reactions = {one for one in self.reactions if one[0] not in expired}
            case e.MessageDeleted() | e.MessageErased():
                self.texts.pop(event.ref, None)
                self.gone.add(event.ref)
                self.reactions = {one for one in self.reactions if one[0] != event.ref}
            case e.ReactionAdded() if event.ref in self.authors and event.ref not in self.gone:
                self.reactions.add((event.ref, event.author, event.emoji))
            case e.ReactionRemoved():
                self.reactions.discard((event.ref, event.author, event.emoji))


def scenario(seed: int) -> tuple[dict[ChannelKey, Model], Said]:
    """A random history of a few channels in two workspaces: refused things, odd bodies, imports."""
    chance = random.Random(seed)
    keys = [
        ChannelKey(WorkspaceId(w), ChannelId(c)) for w in ("acme", "other") for c in ("tea", "p_x", "d_y")
    ]
    models = {key: Model() for key in keys}
    said = []
    for number in range(400):
        key = chance.choice(keys)
        model = models[key]
        event = _next(chance, model)
        at_us = START_US + number * 61_000_000
        if chance.random() < 0.1:
            event = replace(event, imported=e.Imported(by=UserId("tool"), at=rfc3339(number)))
        body: KnownEvent | bytes = event
        if chance.random() < 0.1:  # as another encoder would write it
            body = encode(event).replace(b":", b": ")
        model.take(event)
        said.append((key, body, at_us))
    return models, said


def _next(chance: random.Random, model: Model) -> KnownEvent:
    author = chance.choice(USERS)
    if model.state is None and chance.random() < 0.8:
        fields = {"channel_kind": chance.choice(["public", "private", "direct"]), "members": tuple(USERS[:2])}
        return example(e.ChannelCreated, author=author, **fields, topic=chance.choice(["", "t"]))
    kind = chance.choice([kind for kind in KINDS if model.authors or not issubclass(kind, e._Targeted)])
    ref = chance.choice(sorted(model.authors) or [1])  # also what is deleted by now
    fields = {
        "user": chance.choice(USERS),
        "role": chance.choice(["admin", "member"]),
        "ref": Seq(ref),
        "ref_author": model.authors.get(ref, "ada"),
        "emoji": chance.choice("🎉👍"),
        "days": chance.choice([30, 30, None]),
        "operator": True,
        "since": chance.choice([1, 2]),
        "before": Seq(ref),
        "text": f"text {chance.random()}",
        "name": f"name {chance.random()}",
        "topic": f"topic {chance.random()}",
    }
    return example(
        kind, author=author, **{name: v for name, v in fields.items() if name in kind.__struct_fields__}
    )


@pytest.fixture(params=range(4))
def folded(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[dict[ChannelKey, Model], Path]:
    """Models of a random history, and its archive."""
    models, said = scenario(request.param)
    write_archive(tmp_path / "archive", said)
    return models, tmp_path / "archive"


def test_messages(folded: tuple[dict[ChannelKey, Model], Path]) -> None:
    """Each message that is there, under its number, with its newest text and its author."""
    models, path = folded
    with open_archive(path) as db:
        found = db.sql("SELECT workspace, channel, seq, author, text FROM messages").fetchall()
    expected = {
        (*key, seq, model.authors[seq], text)
        for key, model in models.items()
        for seq, text in model.texts.items()
    }
    assert len(found) == len(expected)
    assert set(found) == expected


def test_reactions(folded: tuple[dict[ChannelKey, Model], Path]) -> None:
    """Each reaction that was not taken back, once, to messages that are there."""
    models, path = folded
    with open_archive(path) as db:
        found = db.sql("SELECT workspace, channel, message, author, emoji FROM reactions").fetchall()
    expected = {(*key, *reaction) for key, model in models.items() for reaction in model.reactions}
    assert len(found) == len(expected)
    assert set(found) == expected


def test_what_users_are_told(folded: tuple[dict[ChannelKey, Model], Path]) -> None:
    """Of each event that is erased, or has expired, no text; of every other one all of it."""
    _, path = folded
    logged = [recorded_of(row) for row in scan(path)]
    erasures = Erasures(
        one for it in sorted(logged, key=lambda it: it.seq) if (one := erasure_of(it)) is not None
    )
    expected = {
        (
            *it.key,
            it.seq,
            None if it.void is not None else getattr(erasures.shown(it, b"")[0].event, "text", None),
        )
        for it in logged
    }
    with open_archive(path) as db:
        found = db.sql(f"SELECT workspace, channel, seq, text FROM ({told('events')})").fetchall()
    assert len(found) == len(expected)
    assert set(found) == expected
    assert any(text == "" for *_, text in found)


def test_members_and_channels(folded: tuple[dict[ChannelKey, Model], Path]) -> None:
    """The state of each channel after its last event, and who belongs to it in which role."""
    models, path = folded
    states = {key: model.state for key, model in models.items() if model.state is not None}
    with open_archive(path) as db:
        members = db.sql("SELECT workspace, channel, member, role FROM members").fetchall()
        channels = db.sql(
            "SELECT workspace, channel, kind, name, topic, retention_days, archived, created_by FROM channels"
        ).fetchall()
    assert sorted(members) == sorted(
        (*key, user, role) for key, state in states.items() for user, role in state.members.items()
    )
    expected = {
        (
            *key,
            state.kind,
            state.name,
            state.topic,
            state.retention_days,
            state.archived,
            state.created_by,
        )
        for key, state in states.items()
    }
    assert len(channels) == len(expected)
    assert set(channels) == expected


def tea(*events: KnownEvent) -> Iterator[tuple[ChannelKey, KnownEvent | bytes, int]]:
    """A channel's log, one event a minute."""
    for number, event in enumerate(events):
        yield ChannelKey(WorkspaceId("acme"), ChannelId("tea")), event, START_US + number * 60_000_000


def test_when_it_happened(tmp_path: Path) -> None:
    """`ts` is the log's time; `happened` differs for what was imported."""
    imported = [
        e.Imported(by=UserId("tool"), at=at)
        for at in ("2016-01-15T05:55:52.000006Z", "2016-01-15T05:55:52Z", "nonsense")
    ]
    posts = [example(e.MessagePosted, imported=one) for one in (None, *imported)]
    write_archive(tmp_path, tea(example(e.ChannelCreated), *posts))
    with open_archive(tmp_path) as db:
        rows = db.sql("SELECT ts::VARCHAR, happened::VARCHAR, edited FROM messages ORDER BY seq").fetchall()
    assert rows == [
        ("2026-01-01 00:01:00", "2026-01-01 00:01:00", None),
        ("2026-01-01 00:02:00", "2016-01-15 05:55:52.000006", None),
        ("2026-01-01 00:03:00", "2016-01-15 05:55:52", None),
        ("2026-01-01 00:04:00", "2026-01-01 00:04:00", None),
    ]


def test_times_are_naive(tmp_path: Path) -> None:
    """With a zone DuckDB would be many times slower, and need one to show it."""
    write_archive(tmp_path, tea(example(e.ChannelCreated)))
    with open_archive(tmp_path) as db:
        for view in ("events", *views("events")):
            kinds = {kind for _, kind, *_ in db.sql(f"DESCRIBE {view}").fetchall()}
            assert "TIMESTAMP WITH TIME ZONE" not in kinds


def test_plain_duckdb_on_the_folder(tmp_path: Path) -> None:
    """DuckDB's own shell with `archive.sql` shows every view."""
    write_archive(tmp_path, tea(example(e.ChannelCreated), example(e.MessagePosted, text="hello")))
    shell = Path(sysconfig.get_path("scripts")) / "duckdb"
    query = (
        "SELECT text FROM messages; SELECT name FROM channels; SELECT member FROM members; FROM reactions;"
    )
    done = subprocess.run(
        [shell, "-init", tmp_path / ARCHIVE_SQL, "-csv", "-c", query],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [
        "text",
        "hello",
        "name",
        '"général"',
        "member",
        "alice",
        "workspace,channel,message,author,emoji,ts",
    ]
    assert "Error" not in done.stderr


def test_the_order_of_files_is_nothing(tmp_path: Path) -> None:
    """The views do not depend on how the events lie in files."""
    said = list(scenario(3)[1])
    results = []
    for size in (25, 1000):
        write_archive(tmp_path / str(size), said, segments_of=size)
        with open_archive(tmp_path / str(size)) as db:
            results.append([sorted(db.sql(f"FROM {view}").fetchall(), key=str) for view in views("events")])
    assert results[0] == results[1]
