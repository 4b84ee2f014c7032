"""Events for tests: one example of every kind, and hypothesis strategies that make any."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping

import msgspec
from hypothesis import strategies as st

from shared import events as e
from shared.ids import CommandId, Seq, UserId, new_command_id, user_id

T = typing.TypeVar("T", bound=e.KnownEvent)
NOW_MS = 1_790_000_000_000
KINDS: tuple[type[e.KnownEvent], ...] = typing.get_args(e.KnownEvent)
"""The class of every kind, as `KnownEvent` lists them."""

VALUES: dict[str, object] = {
    "channel_kind": "public",
    "name": "général",
    "text": "hi ☕",
    "emoji": "🎉",
    "topic": "tea",
    "user": "bob",
    "role": "member",
    "ref": 1,
    "ref_author": "alice",
    "since": 1,
    "before": 2,
    "older_than": "2026-11-01T00:00:00.000Z",
}


def example(kind: type[e.KnownEvent], author: str = "alice", **fields: object) -> e.KnownEvent:
    """An event of this kind; fields that are not given have plain values."""
    wanted = {name: VALUES[name] for name in required(kind) if name in VALUES}
    return made(kind, {"id": new_command_id(NOW_MS), "author": author, **wanted, **fields})


def made(kind: type[T], fields: Mapping[str, object]) -> T:
    """An event of a kind from its fields, checked as those of a stored one are."""
    return msgspec.convert({"kind": kind.kind, **fields}, kind)


def content(event: e.KnownEvent) -> dict[str, object]:
    """What an event says, field by field."""
    fields = {name: getattr(event, name) for name in event.__struct_fields__ if name != "v"}
    said: dict[str, object] = json.loads(msgspec.json.encode(fields))
    return {"kind": event.kind} | {name: value for name, value in said.items() if value is not None}


def required(kind: type[e.KnownEvent]) -> list[str]:
    """The fields of a kind that cannot be left out."""
    return [field.name for field in msgspec.structs.fields(kind) if field.required]


def users() -> st.SearchStrategy[UserId]:
    """Any user id that is allowed."""
    allowed = st.characters(exclude_categories=["Cs", "Cc"])
    texts = st.text(allowed, min_size=1, max_size=40).filter(lambda text: len(text.encode()) <= 255)
    return texts.map(user_id)


def command_ids() -> st.SearchStrategy[CommandId]:
    """Any command id."""
    return st.integers(0, 2**48 - 1).map(new_command_id)


def any_event(authors: st.SearchStrategy[UserId] | None = None) -> st.SearchStrategy[e.KnownEvent]:
    """Any event; a few authors make memberships overlap."""
    people = users() if authors is None else authors
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
    imported = st.builds(e.Imported, by=people, at=text)
    refs = st.integers(1, 2**53 - 1).map(Seq)
    by_field = {
        "id": command_ids(),
        "author": people,
        "user": people,
        "ref_author": people,
        "ref": refs,
        "imported": st.none() | imported,
        "thread": st.none() | refs,
        "since": refs,
        "before": refs,
        "days": st.none() | st.integers(1, 36_500),
        "members": st.lists(people, max_size=4).map(tuple),
        "text": text,
        "name": text,
        "topic": text,
        "emoji": text,
        "role": st.sampled_from(["admin", "member"]),
        "channel_kind": st.sampled_from(["public", "private", "direct"]),
    }

    def build(kind: type[e.KnownEvent]) -> st.SearchStrategy[e.KnownEvent]:
        fields = {name: by_field[name] for name in kind.__struct_fields__ if name in by_field}
        return st.builds(kind, **fields)

    return st.sampled_from(KINDS).flatmap(build)
